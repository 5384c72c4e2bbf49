"""Speed-ups of each variant over eager fp32, and over the best float32."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from qmodels.gate import Entry, Run
from qmodels.measure.metric import Definition
from qmodels.measure.metrics import LATENCY, LATENCY_RATIO
from qmodels.report.table import escape, markdown

COLUMNS: Mapping[str, str] = {
    "N images (ms)": f"{LATENCY.meaning} with N images, in milliseconds",
    "x faster than fp32": "speed-up over eager fp32, in turn with it",
    "than best float32": "speed-up over the fastest float32 variant of the run",
}


@dataclass(frozen=True)
class Speed:
    """One variant at one batch size.

    Attributes:
        over_fp32: how many times faster than eager fp32, in turn.
        over_best: speed-up over the run's fastest float32 variant.
    """

    milliseconds: float
    over_fp32: float
    over_best: float

    def cells(self) -> list[str]:
        """The columns of a table."""
        return [f"{value:.2f}" for value in (self.milliseconds, self.over_fp32, self.over_best)]


def speeds(run: Run) -> dict[int, dict[str, Speed]]:
    """The speeds of a run, by batch size and variant."""
    timed: dict[int, dict[str, Entry]] = {}
    for key, entry in run.entries.items():
        if LATENCY.name in entry.metrics and key.bench == "bench_latency":
            timed.setdefault(key.batch_size, {})[entry.variant] = entry
    return {size: _compare_speeds(entries) for size, entries in sorted(timed.items())}


def _compare_speeds(entries: Mapping[str, Entry]) -> dict[str, Speed]:
    def value(entry: Entry, metric: Definition) -> float | None:
        measured = entry.metrics.get(metric.name)
        return None if measured is None else measured.value

    # fp32, which the others are compared with, has no ratio.
    ratios = {name: value(entry, LATENCY_RATIO) or 1.0 for name, entry in entries.items()}
    floats = [ratios[name] for name, entry in entries.items() if entry.arithmetic == "float32"]
    best = min(floats, default=1.0)
    return {
        name: Speed(
            milliseconds=value(entry, LATENCY) or 0.0,
            over_fp32=1 / ratios[name],
            over_best=best / ratios[name],
        )
        for name, entry in entries.items()
    }


def oddities(run: Run) -> list[str]:
    """A line for each variant that takes longer for fewer images."""
    return [
        f"odd: {name} takes {slow[name].milliseconds:.1f} ms for {few} image{'s'[: few > 1]}, "
        f"{fast[name].milliseconds:.1f} ms for {many} (see `qmodels layers`)"
        for (few, slow), (many, fast) in pairwise(speeds(run).items())
        for name in slow
        if name in fast and slow[name].milliseconds > fast[name].milliseconds
    ]


def speed_table(run: Run) -> str:
    """The table of a run as Markdown; empty where no latency was measured."""
    by_size = speeds(run)
    names = dict.fromkeys(name for variants in by_size.values() for name in variants)
    if not names:
        return ""
    headers = ["Model"]
    for size in by_size:
        images = f"{size} image" + ("s" if size > 1 else "")
        headers += [f"{images} (ms)", *list(COLUMNS)[1:]]
    rows = [
        [escape(name)]
        + [
            cell
            for variants in by_size.values()
            for cell in (variants[name].cells() if name in variants else ["-"] * len(COLUMNS))
        ]
        for name in names
    ]
    return markdown(headers, rows)
