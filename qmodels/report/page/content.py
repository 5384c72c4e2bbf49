"""The content of a page about a run, as plain values for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qmodels.gate import Details, Entry, Failure, Finding, Key, LayerSqnr, Run
from qmodels.measure.metric import Metric, readable
from qmodels.measure.metrics import METRICS
from qmodels.report.advice import Advice, advice
from qmodels.report.choice import choose
from qmodels.report.overview import overview
from qmodels.report.page import charts
from qmodels.report.page.charts import Spec
from qmodels.report.page.flips import Flipped
from qmodels.report.page.machines import Machine
from qmodels.report.page.trade_off import HERE
from qmodels.report.table import values_before
from qmodels.system.errors import NothingMeasured


@dataclass(frozen=True)
class MetricRow:
    """One metric of a variant.

    Attributes:
        bench: what was measured; of latency, with how many images.
        interval, before, change: empty where there is none.
    """

    bench: str
    name: str
    meaning: str
    value: str
    interval: str
    before: str
    change: str
    verdict: str


@dataclass(frozen=True)
class DetailTable:
    """A table of a variant; the first column is text, the others are numbers."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str | int]]


@dataclass(frozen=True)
class VariantSection:
    """All that a page shows for one variant.

    Attributes:
        anchor: its identifier in the page.
        tables: of its kernels, the profiler and its files, where the record has them.
        flipped: images; None where the record has no predictions.
    """

    anchor: str
    name: str
    cells: Sequence[str]
    metrics: Sequence[MetricRow]
    layers: Sequence[LayerSqnr]
    tables: Sequence[DetailTable]
    charts: Sequence[str]
    code: str
    flipped: Flipped | None = None


@dataclass(frozen=True)
class Content:
    """A page.

    Attributes:
        about: lines on who measured what, and what it was compared with.
        gate: how many findings there are of each kind; empty without any.
        machine_headings: of the columns that each has.
        picture: the flipped images as a data URI, tiles in a row; empty without any.
    """

    network: str
    about: Sequence[str]
    advice: Sequence[Advice]
    headings: Sequence[str]
    variants: Sequence[VariantSection]
    failures: Sequence[Failure]
    gate: str
    lines: Sequence[str]
    machines: Sequence[Machine]
    machine_headings: Sequence[str]
    charts: Mapping[str, Spec]
    picture: str = ""
    anchors: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The variants of all machines."""
        return list(dict.fromkeys(name for machine in self.machines for name in machine.cells))


def variants(
    run: Run,
    findings: Sequence[Finding],
    stored: Mapping[Key, Entry],
    flipped: Mapping[str, Flipped],
) -> tuple[list[str], list[VariantSection], dict[str, Spec]]:
    """The headings of the overview, the variants in its order, and the specifications of charts."""
    headings, *rows = overview(run, findings, run.failures)
    verdicts = {(finding.key, finding.metric): finding.verdict for finding in findings}
    described: list[VariantSection] = []
    specs: dict[str, Spec] = {}
    for index, (name, *cells) in enumerate(rows):
        entries = [entry for entry in run.entries.values() if entry.variant == name]
        own = {f"v{index}-{kind}": spec for kind, spec in _variant_charts(entries).items()}
        specs |= own
        described.append(
            VariantSection(
                anchor=f"v{index}",
                name=name,
                cells=cells,
                metrics=[
                    _metric_row(entry, key, value, stored, verdicts.get((entry.key, key), ""))
                    for entry in entries
                    for key, value in entry.metrics.items()
                ],
                layers=[layer for entry in entries for layer in entry.layers],
                tables=[table for entry in entries for table in _tables(entry)],
                charts=list(own),
                code=_loading_code(entries[0]) if entries else "",
                flipped=flipped.get(name),
            )
        )
    return headings, described, specs


def _variant_charts(entries: Sequence[Entry]) -> dict[str, Spec]:
    shown: dict[str, Spec] = {}
    for entry in entries:
        if entry.layers:
            shown["noise"] = charts.noise(entry.layers)
        seconds = entry.stats.data if entry.key.bench == "bench_latency" else ()
        if seconds:
            base = entry.base_seconds
            sides = {"head": seconds, "base": base} if base else {HERE: seconds}
            shown[f"times-{entry.key.batch_size}"] = charts.distribution(sides)
    return shown


def _tables(details: Details) -> list[DetailTable]:
    shown = [
        DetailTable(
            "Kernels of convolutions and linear layers",
            ("kernel", "calls"),
            list(details.kernels.items()),
        ),
        DetailTable(
            "What torch's profiler saw allocated",
            ("operator", "bytes", "without callees", "calls"),
            [(row.name, row.cpu_bytes, row.self_cpu_bytes, row.calls) for row in details.profile],
        ),
        DetailTable("Files", ("file", "bytes"), list(details.files.items())),
    ]
    return [table for table in shown if table.rows]


def _metric_row(
    entry: Entry, name: str, value: Metric, stored: Mapping[Key, Entry], verdict: str
) -> MetricRow:
    before = values_before(entry, stored).get(name)
    interval = ""
    if value.ci:
        low, high = (readable(end, value.unit) for end in value.ci)
        interval = f"{low} to {high}"
        if value.ci_level:
            interval += f" ({100 * value.ci_level:.0f} %)"
    return MetricRow(
        bench=bench_title(entry.key),
        name=name,
        meaning=METRICS[name].meaning if name in METRICS else "",
        value=value.text,
        interval=interval,
        before="" if before is None else readable(before, value.unit),
        change="" if before is None else value.change_from(before),
        verdict=verdict,
    )


def bench_title(key: Key) -> str:
    """The heading of a benchmark's section."""
    title = key.bench.removeprefix("bench_")
    if title != "latency":
        return title
    return f"{title}, {key.batch_size} image{'s'[: key.batch_size != 1]}"


def _loading_code(entry: Entry) -> str:
    """The lines that load a variant as it was measured; empty where no function gives it."""
    if not entry.source:
        return ""
    function, *arguments = entry.source.items()
    given = [repr(function[1]), *(f"{name}={value!r}" for name, value in arguments)]
    return (
        "from qmodels import variants\n"
        "from qmodels.network import open_network\n"
        f"network = open_network({', '.join(given)})\n"
        f"forward = variants.build(variants.select({entry.variant!r})[0], network).load()\n"
    )


def recommendation(run: Run, max_drop: float) -> list[Advice]:
    """The recommendation of a run, or why there is none."""
    try:
        return advice(choose(run, max_drop))
    except NothingMeasured as error:
        return [Advice(str(error))]
