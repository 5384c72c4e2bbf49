"""The overview of a run: a line for each variant, the fastest first, at most 100 columns wide."""

from collections.abc import Mapping, Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qmodels.gate import Failure, Finding, Run
from qmodels.measure.metric import Definition
from qmodels.measure.metrics import INT8_MACS, LATENCY, SIZE
from qmodels.report.accuracy import BY_TOP1, accuracy_of
from qmodels.report.speed import Speed, speeds
from qmodels.report.table import escape, markdown, metric
from qmodels.system.defaults import REFERENCE

WIDTH = 100
COLUMNS: Mapping[str, str] = {
    "variant": "how the network is quantized and what runs it; `qmodels variants` lists all",
    "MB": f"{SIZE.meaning}, in 10**6 bytes",
    BY_TOP1.heading: f"share of the {BY_TOP1.metric.meaning}",
    "vs fp32": "that less fp32's on the same images, in percentage points; of a score in percent",
    "ms (1)": f"{LATENCY.meaning} with 1 image, in milliseconds",
    "ms (8)": "the same with 8 images",
    "x (1)": "speed-up over the fastest float32 variant of the run, with 1 image",
    "x (8)": "the same with 8 images",
    "int8 %": f"share of the {INT8_MACS.meaning}",
    "verdict": "the worst verdict on its metrics, and how many have it where they are several",
}
_LEFT = ("variant", "verdict")
# From the worst to the best. A run that was not compared has none.
_VERDICTS = ("failed", "regressed", "missing", "undecided", "new", "improved", "ok")
_STYLES = {
    "failed": "bold red",
    "regressed": "bold red",
    "missing": "yellow",
    "undecided": "yellow",
    "improved": "green",
}


def overview(
    run: Run, findings: Sequence[Finding], failures: Sequence[Failure] = ()
) -> list[list[str]]:
    """The headings, then a row for each variant.

    Args:
        findings: of the run; without any, and without failures, there is no column of verdicts.
        failures: of its benches; a variant of which all failed has a row too.
    """
    judged = bool(findings or failures)
    by_size = speeds(run)
    names = dict.fromkeys(entry.variant for entry in run.entries.values())
    names |= dict.fromkeys(failure.variant for failure in failures if failure.variant)

    def milliseconds(name: str) -> float:
        timed = by_size.get(1, {}).get(name)
        return timed.milliseconds if timed else float("inf")

    accuracy = accuracy_of(run)
    headings = [accuracy.heading if name == BY_TOP1.heading else name for name in COLUMNS]
    if not judged:
        headings.pop()
    return [headings] + [
        [
            name,
            _value(run, name, SIZE),
            _value(run, name, accuracy.metric),
            _value(run, name, accuracy.drop, -1, "{:+.2f}") if name != REFERENCE else "-",
            *_speed_cells(by_size, name),
            _value(run, name, INT8_MACS, template="{:.0f}"),
            *([_verdict(name, findings, failures)] if judged else []),
        ]
        for name in sorted(names, key=milliseconds)
    ]


def _value(
    run: Run, variant: str, definition: Definition, factor: float = 1.0, template: str = ""
) -> str:
    measured = metric(run, variant, definition)
    if measured is None:
        return "-"
    template = template or f"{{:.{definition.digits}f}}"
    text = template.format(factor * measured.value / definition.divisor)
    return text if float(text) else template.format(0.0)  # not -0.00


def _speed_cells(by_size: Mapping[int, Mapping[str, Speed]], name: str) -> list[str]:
    timed = [by_size.get(size, {}).get(name) for size in (1, 8)]
    return [
        *(f"{speed.milliseconds:.2f}" if speed else "-" for speed in timed),
        *(f"{speed.over_best:.2f}" if speed else "-" for speed in timed),
    ]


def _verdict(variant: str, findings: Sequence[Finding], failures: Sequence[Failure]) -> str:
    """The worst verdict on a variant, with the number of metrics or benches that share it."""
    verdicts = ["failed" for failure in failures if failure.variant == variant]
    verdicts += [finding.verdict for finding in findings if finding.key.variant == variant]
    if not verdicts:
        return "-"
    worst = min(verdicts, key=_VERDICTS.index)
    count = verdicts.count(worst)
    return f"{count} {worst}" if count > 1 and worst != "ok" else worst


def overview_text(
    run: Run, findings: Sequence[Finding], failures: Sequence[Failure] = (), *, color: bool = False
) -> str:
    """The overview for a terminal of ``WIDTH`` columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    headings, *rows = overview(run, findings, failures)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in _LEFT else "right")
    for row in rows:
        style = _STYLES.get(row[-1].split()[-1], "")
        table.add_row(*map(Text, row[:-1]), Text(row[-1], style))
    console = Console(
        file=StringIO(),
        width=WIDTH,
        force_terminal=color,
        color_system="standard" if color else None,
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def overview_markdown(
    run: Run, findings: Sequence[Finding], failures: Sequence[Failure] = ()
) -> str:
    """The overview as Markdown."""
    headings, *rows = overview(run, findings, failures)
    rows = [[escape(name), *cells] for name, *cells in rows]
    return markdown(headings, rows, ["left" if name in _LEFT else "right" for name in headings])
