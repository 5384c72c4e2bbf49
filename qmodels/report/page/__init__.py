"""A run as one file of HTML, which needs no network: text, tables and charts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qmodels.gate import Entry, Finding, Key, Run, lines
from qmodels.report.accuracy import accuracy_of
from qmodels.report.changes import count_findings
from qmodels.report.page import charts, content, flips, machines, trade_off
from qmodels.report.page.content import Content
from qmodels.system import files, packages
from qmodels.system.errors import Unavailable, UserError

LIMIT_BYTES = 3_000_000  # of a page; one that has more shows no images
TITLES = {
    "latency": "time of a forward with 1 image, ratio to fp32",
    "size": "size of the files, ratio to fp32",
}


def write_page(
    path: Path,
    runs: Sequence[Run],
    findings: Sequence[Finding],
    stored: Mapping[Key, Entry],
    *,
    about: Sequence[str],
    max_drop: float,
) -> int:
    """Write a page about the first run, with the others beside it.

    Args:
        runs: of one network; the others may be of other machine classes.
        findings: of the first run.
        stored: entries that the first run was compared with.
        about: lines on who measured what.
        max_drop: what the recommended variant may lose; see ``choice.choose``.

    Returns:
        Its bytes.

    Raises:
        Unavailable: what draws is not installed.
        UserError: the runs are of several networks, or the file cannot be written.
    """
    page = describe(runs, findings, stored, about=about, max_drop=max_drop)
    text = render(page)
    if len(text.encode()) > LIMIT_BYTES:
        text = render(replace(page, picture=""))
    files.write_text(path, text)
    return len(text.encode())


def describe(
    runs: Sequence[Run],
    findings: Sequence[Finding],
    stored: Mapping[Key, Entry],
    *,
    about: Sequence[str],
    max_drop: float,
) -> Content:
    """What the page says."""
    networks = dict.fromkeys(key.network for run in runs for key in run.entries)
    if len(networks) > 1:
        raise UserError(f"the runs are of {', '.join(networks)}: give runs of one network")
    run = runs[0]
    flipped, picture = flips.flipped_images(run)
    headings, variants, specs = content.variants(run, findings, stored, flipped)
    trade_offs = {
        f"trade-off-{prefer}": trade_off.trade_off(points, title, accuracy_of(run))
        for prefer, title in TITLES.items()
        if (points := trade_off.points(run, prefer))
    }
    return Content(
        network=next(iter(networks), "a run that measured nothing"),
        about=about,
        advice=content.recommendation(run, max_drop),
        headings=headings,
        variants=variants,
        failures=run.failures,
        gate=count_findings(findings, run.failures) if findings or run.failures else "",
        lines=lines(finding for finding in findings if finding.verdict != "ok"),
        machines=machines.side_by_side(runs, max_drop),
        machine_headings=machines.headings(run),
        charts={**trade_offs, **specs},
        picture=picture,
        anchors={variant.name: variant.anchor for variant in variants},
    )


def render(page: Content) -> str:
    """The page as HTML. Whatever comes from a record is escaped.

    Raises:
        Unavailable: what draws is not installed.
    """
    vl_convert, jinja2 = import_extra()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", charts.VERSION)
    template = environment.get_template("template.html")
    return str(template.render(page=page, library=library, columns=flips.COLUMNS))


def draw(run: Run, path: Path) -> None:
    """Draw a run's accuracy against its latency as SVG; the same numbers give the same bytes.

    Raises:
        Unavailable: what draws is not installed.
        UserError: the run has nothing to draw, or the file cannot be written.
    """
    points = trade_off.points(run, "latency")
    if not points:
        raise UserError(
            "the run has no accuracy and latency of fp32, which others are compared with: "
            "run all benches"
        )
    vl_convert, _ = import_extra()
    spec = trade_off.labelled(points, TITLES["latency"], accuracy_of(run))
    svg = vl_convert.vegalite_to_svg(spec, charts.VERSION)
    files.write_text(path, svg)


def import_extra() -> tuple[Any, Any]:
    """The packages of the extra: what draws charts, and what fills templates.

    Raises:
        Unavailable: one of them is not installed.
    """
    try:
        import jinja2
        import vl_convert
    except ImportError as error:
        raise Unavailable(
            f"{error.name} is not installed, so nothing was drawn: {packages.install('report')}"
        ) from None
    return vl_convert, jinja2
