"""What a page shows for a run, as plain values for the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qmodels.gate import Details, Entry, Failure, Finding, Key, Run
from qmodels.gate.verdict import readable
from qmodels.measure.metric import Metric
from qmodels.report.choice import Advice, Choice, advice, choose
from qmodels.report.overview import overview
from qmodels.report.page import charts
from qmodels.report.page.charts import Spec
from qmodels.report.page.flips import Flipped
from qmodels.report.speed import speeds
from qmodels.report.table import metric, values_before
from qmodels.system.errors import UserError


@dataclass(frozen=True)
class Number:
    """A number as it is shown, and as the run's record has it."""

    text: str
    exact: float


@dataclass(frozen=True)
class MetricRow:
    """One metric of a variant.

    Attributes:
        bench: what was measured; of latency, with how many images.
        interval, before, change: empty where there is none.
    """

    bench: str
    name: str
    value: Number
    interval: str
    before: str
    change: str
    verdict: str


@dataclass(frozen=True)
class Variant:
    """All that a page shows for one variant.

    Attributes:
        anchor: its identifier in the page.
        cells: its row of the overview, without the name.
        details: of all its benchmarks.
        chart: identifiers of its charts.
        code: lines that load it.
    """

    anchor: str
    name: str
    cells: Sequence[str]
    metrics: Sequence[MetricRow]
    details: Details
    charts: Sequence[str]
    code: str
    flipped: Flipped | None = None


@dataclass(frozen=True)
class Machine:
    """A run among others.

    Attributes:
        best: the variant that it recommends; a dash without one.
        cells: of each variant: speed-up over fp32, change of top-1.
    """

    machine_class: str
    best: str
    cells: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Content:
    """A page.

    Attributes:
        about: lines on who measured what, and what it was compared with.
        headings: of the overview.
        charts: specifications by identifier.
        machines: of all runs, where they are of several machine classes.
        picture: the flipped images as a data URI, tiles in a row; empty without any.
    """

    network: str
    about: Sequence[str]
    advice: Sequence[Advice]
    headings: Sequence[str]
    variants: Sequence[Variant]
    failures: Sequence[Failure]
    gate: str
    lines: Sequence[str]
    machines: Sequence[Machine]
    charts: Mapping[str, Spec]
    picture: str = ""
    anchors: Mapping[str, str] = field(default_factory=dict)


def choice_of(run: Run, max_drop: float) -> Choice | None:
    """The choice of a run; None where it measured too little."""
    try:
        return choose(run, max_drop)
    except UserError:
        return None


def variants(
    run: Run,
    findings: Sequence[Finding],
    stored: Mapping[Key, Entry],
    flipped: Mapping[str, Flipped],
) -> tuple[list[str], list[Variant], dict[str, Spec]]:
    """The headings of the overview, the variants in its order, and the specifications of charts.

    Args:
        stored: entries of the baseline that the run was compared with.
        flipped: images by variant.
    """
    headings, *rows = overview(run, findings, run.failures)
    verdicts = {(finding.key, finding.metric): finding.verdict for finding in findings}
    described: list[Variant] = []
    specs: dict[str, Spec] = {}
    for index, (name, *cells) in enumerate(rows):
        entries = [entry for entry in run.entries.values() if entry.variant == name]
        own = {f"v{index}-{kind}": spec for kind, spec in variant_charts(entries).items()}
        specs |= own
        described.append(
            Variant(
                anchor=f"v{index}",
                name=name,
                cells=cells,
                metrics=[
                    metric_row(entry, key, value, stored, verdicts.get((entry.key, key), ""))
                    for entry in entries
                    for key, value in entry.metrics.items()
                ],
                details=merge([entry.details for entry in entries]),
                charts=list(own),
                code=loading_code(entries[0]) if entries else "",
                flipped=flipped.get(name),
            )
        )
    return headings, described, specs


def variant_charts(entries: Sequence[Entry]) -> dict[str, Spec]:
    """The charts of one variant, where its record has what they show."""
    shown: dict[str, Spec] = {}
    for entry in entries:
        if entry.details.layers:
            shown["noise"] = charts.noise(entry.details.layers)
        seconds = entry.timing.stats.get("data") if entry.key.bench == "bench_latency" else None
        if seconds:
            base = entry.details.base_seconds
            sides = {"head": seconds} | ({"base": base} if base else {})
            shown[f"times-{entry.key.batch_size}"] = charts.distribution(sides)
    return shown


def merge(details: Sequence[Details]) -> Details:
    """The details of several benchmarks; each bench records others."""
    return Details(
        kernels={name: count for part in details for name, count in part.kernels.items()},
        layers=tuple(layer for part in details for layer in part.layers),
        profile=tuple(row for part in details for row in part.profile),
        files={path: size for part in details for path, size in part.files.items()},
    )


def metric_row(
    entry: Entry, name: str, value: Metric, stored: Mapping[Key, Entry], verdict: str
) -> MetricRow:
    """One metric, with its interval, and the change against what the run was compared with."""
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
        value=Number(readable(value.value, value.unit), value.value),
        interval=interval,
        before="" if before is None else readable(before, value.unit),
        change="" if before is None else change(value.value, before, value),
        verdict=verdict,
    )


def bench_title(key: Key) -> str:
    """What a benchmark measures, as a heading has it."""
    title = key.bench.removeprefix("bench_")
    if title != "latency":
        return title
    return f"{title}, {key.batch_size} image{'s'[: key.batch_size != 1]}"


def change(now: float, before: float, metric: Metric) -> str:
    """A change: in the metric's unit where tolerances are in it, else in percent."""
    if metric.absolute:
        return f"{now - before:+.2f} {metric.unit}"
    return f"{100 * (now / before - 1):+.2f} %" if before else ""


def loading_code(entry: Entry) -> str:
    """Five lines that load a variant as it was measured."""
    dataset, width = entry.conditions["dataset"], entry.conditions["width"]
    architecture = entry.conditions["architecture"]
    return (
        "from qmodels import data, variants\n"
        "from qmodels.training import checkpoints, networks\n"
        f"checkpoint = checkpoints.find({architecture!r}, {width!r}, {dataset!r})\n"
        f"network = networks.network(checkpoint, data.load({dataset!r}))\n"
        f"forward = variants.build(variants.select({entry.variant!r})[0], network).load()\n"
    )


def machines(runs: Sequence[Run], max_drop: float) -> list[Machine]:
    """The runs side by side; empty where they come from one machine class."""
    columns = []
    for run in runs:
        classes = dict.fromkeys(entry.machine_class for entry in run.entries.values())
        names = dict.fromkeys(entry.variant for entry in run.entries.values())
        single = speeds(run).get(1, {})
        choice = choice_of(run, max_drop)
        cells = {}
        for name in names:
            drop = metric(run, name, "top1_drop")
            cells[name] = (
                f"{single[name].over_fp32:.2f}" if name in single else "-",
                f"{-drop.value + 0:+.2f}" if drop else "-",
            )
        best = choice.best[0].variant if choice and choice.best else "-"
        columns.append(Machine(", ".join(classes), best, cells))
    return columns if len({column.machine_class for column in columns}) > 1 else []


def recommendation(run: Run, max_drop: float) -> list[Advice]:
    """The recommendation of a run, or why there is none."""
    try:
        return advice(choose(run, max_drop))
    except UserError as error:
        return [Advice(str(error))]
