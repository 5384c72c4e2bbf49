"""The study's table, made again from a run: size, accuracy, latency and memory by model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from qmodels.gate import Entry, Key, Run
from qmodels.measure.metric import METRICS, Metric

BATCH_SIZE = 1  # of the latency columns
MARKUP = re.compile(r"[<>@`|*\n]|\]\(|://|www\.")


@dataclass(frozen=True)
class Column:
    """A column: its heading, its metric, the divisor and digits that print it, and its meaning."""

    heading: str
    metric: str
    divisor: float
    digits: int
    meaning: str


COLUMNS = (
    Column("Size (MB)", "size_bytes", 1e6, 2, "files that would be deployed, 10**6 bytes"),
    Column("Top-1 (%)", "top1", 1, 2, "test images whose most likely class is right"),
    Column("Score", "score", 1, 4, "mean of the network's own score over the test images"),
    Column("Top-5 error (%)", "top5_error", 1, 2, "class is not among the five likeliest"),
    Column("CPU (ms)", "latency_ms", 1, 2, "median time of a forward with 1 image"),
    Column("x fp32", "latency_ratio", 1, 3, "that time over that of eager fp32, in turn"),
    Column("x base", "latency_change", 1, 3, "that time over that of the base, in turn"),
    Column("Int8 MACs (%)", "int8_mac_fraction", 0.01, 1, "multiply-accumulates in int8 kernels"),
    Column("SQNR (dB)", "sqnr_db", 1, 1, "power of fp32's logits over that of the error"),
    Column("Allocated (MB)", "allocated_bytes", 1e6, 2, "by torch in a forward, all blocks added"),
    Column("Memory (MB)", "memory_bytes", 1e6, 1, "what a process holds for the model"),
    Column("Peak RSS (MB)", "rss_bytes", 1e6, 0, "of that process, with all libraries; not gated"),
)


@dataclass(frozen=True)
class Cell:
    """A value, and what the baseline has for it, where either is known."""

    now: float | None
    before: float | None

    def text(self, column: Column) -> str:
        """The value, with the change against the baseline where there is one to see."""
        if self.now is None:
            return "-"
        shown = f"{self.now / column.divisor:.{column.digits}f}"
        if self.before is None:
            return shown
        change = f"{(self.now - self.before) / column.divisor:+.{column.digits}f}"
        return f"{shown} (=)" if float(change) == 0 else f"{shown} ({change})"


def summarize(run: Run, baseline: Mapping[Key, Entry]) -> dict[str, tuple[Cell, ...]]:
    """The table's cells by variant, in the order of the run.

    Args:
        baseline: entries of the stored run; empty where there is none. What a base measured
            beside the run counts instead.
    """
    columns = columns_of(run)
    by_variant: dict[str, dict[str, Cell]] = {}
    for key, now in run.entries.items():
        cells = by_variant.setdefault(now.variant, {})
        before = values_before(now, baseline)
        for name, metric in now.metrics.items():
            if not name.startswith("latency") or key.batch_size == BATCH_SIZE:
                cells[name] = Cell(metric.value, before.get(name))
    nothing = Cell(None, None)
    return {
        variant: tuple(cells.get(column.metric, nothing) for column in columns)
        for variant, cells in by_variant.items()
    }


def values_before(now: Entry, baseline: Mapping[Key, Entry]) -> Mapping[str, float]:
    """What an entry's metrics were in the run that it is compared with."""
    if now.base is not None:
        return now.base
    stored = baseline.get(now.key)
    # Of other images, accuracy is another quantity.
    if stored is None or stored.images != now.images:
        return {}
    return {name: metric.value for name, metric in stored.metrics.items()}


def columns_of(run: Run) -> tuple[Column, ...]:
    """The columns of a run: also of metrics that only its own benches know."""
    units = {
        name: metric.unit
        for entry in run.entries.values()
        for name, metric in entry.metrics.items()
        if name not in METRICS
    }
    return COLUMNS + tuple(
        Column(f"{name} ({unit})" if unit else name, name, 1, 3, "of a bench of the repository")
        for name, unit in units.items()
    )


def summary_table(run: Run, baseline: Mapping[Key, Entry]) -> str:
    """The table as Markdown, without empty columns; see ``summarize``."""
    summary, columns = summarize(run, baseline), columns_of(run)
    shown = [
        (index, column)
        for index, column in enumerate(columns)
        if any(cells[index].now is not None for cells in summary.values())
    ]
    headers = ["Model", *(column.heading for _, column in shown)]
    rows = [
        [escape(variant), *(cells[index].text(column) for index, column in shown)]
        for variant, cells in summary.items()
    ]
    return markdown(headers, rows)


def metric(run: Run, variant: str, name: str) -> Metric | None:
    """A metric of a variant, at batch size 1 where it has one; None if it was not measured."""
    entries = [e for e in run.entries.values() if e.variant == variant and name in e.metrics]
    single = [entry for entry in entries if entry.key.batch_size == BATCH_SIZE]
    return (single or entries)[0].metrics[name] if entries else None


def escape(text: str) -> str:
    """What a record says, as Markdown that shows it: markup, links and mentions as a code span."""
    if not MARKUP.search(text):
        return text
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    line = " ".join(text.split()).replace("|", "\\|")
    return f"{fence} {line} {fence}"


def markdown(
    headers: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str] | None = None
) -> str:
    """Text in aligned columns, readable in a terminal too; by default the first to the left."""
    align = align or ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)
