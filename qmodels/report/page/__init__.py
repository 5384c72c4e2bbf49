"""A run as one file of HTML, which needs no network: text, tables and charts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qmodels.gate import Entry, Finding, Key, Run, lines
from qmodels.report.accuracy import accuracy_of
from qmodels.report.changes import count_findings
from qmodels.system import files, packages
from qmodels.system.errors import Unavailable, UserError

try:
    import altair
    import jinja2
    import vl_convert

    from qmodels.report.page import charts, content, flips, machines, trade_off
except ModuleNotFoundError as error:
    if error.name not in ("altair", "jinja2", "vl_convert"):
        raise
    raise Unavailable(
        f"{error.name} is not installed, so nothing was drawn: {packages.install('report')}"
    ) from None

# Of the specifications that Altair writes, as 6.4.
_VEGA_LITE = altair.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
LIMIT_BYTES = 3_000_000  # of a page; one that has more shows no images
_TITLES = {
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
        stored: entries that the first run was compared with.

    Returns:
        Its bytes.

    Raises:
        UserError: the runs are of several networks, or the file cannot be written.
    """
    page = describe(runs, findings, stored, about=about, max_drop=max_drop)
    text = _render(page)
    if len(text.encode()) > LIMIT_BYTES:
        text = _render(replace(page, picture=""))
    files.write_text(path, text)
    return len(text.encode())


def describe(
    runs: Sequence[Run],
    findings: Sequence[Finding],
    stored: Mapping[Key, Entry],
    *,
    about: Sequence[str],
    max_drop: float,
) -> content.Content:
    """The content of the page."""
    networks = dict.fromkeys(key.network for run in runs for key in run.entries)
    if len(networks) > 1:
        raise UserError(f"the runs are of {', '.join(networks)}: give runs of one network")
    run = runs[0]
    flipped, picture = flips.flipped_images(run)
    headings, variants, specs = content.variants(run, findings, stored, flipped)
    trade_offs = {
        f"trade-off-{prefer}": charts.trade_off(points, title, accuracy_of(run))
        for prefer, title in _TITLES.items()
        if (points := trade_off.points(run, prefer))
    }
    return content.Content(
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


def _render(page: content.Content) -> str:
    """The page as HTML. Whatever comes from a record is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE)
    template = environment.get_template("template.html")
    return str(template.render(page=page, library=library, columns=flips.COLUMNS))


def draw(run: Run, path: Path) -> None:
    """Draw a run's accuracy against its latency as SVG; the same numbers give the same bytes.

    Raises:
        UserError: the run has nothing to draw, or the file cannot be written.
    """
    points = trade_off.points(run, "latency")
    if not points:
        raise UserError(
            "the run has no accuracy and latency of fp32, which others are compared with: "
            "run all benches"
        )
    spec = charts.labelled(points, _TITLES["latency"], accuracy_of(run))
    svg = vl_convert.vegalite_to_svg(spec, _VEGA_LITE)
    files.write_text(path, svg)
