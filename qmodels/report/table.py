"""The study's table, made again from a run: size, accuracy, latency and memory by model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qmodels.gate import Entry, Key, entry

BATCH_SIZE = 1  # of the latency columns


@dataclass(frozen=True)
class Column:
    """A column: its heading, the metric in it, and the divisor and digits that print it."""

    heading: str
    metric: str
    divisor: float
    digits: int


COLUMNS = (
    Column("Size (MB)", "size_bytes", 1e6, 2),
    Column("Top-1 (%)", "top1", 1, 2),
    Column("Top-5 error (%)", "top5_error", 1, 2),
    Column("CPU (ms)", "latency_ms", 1, 2),
    Column("x fp32", "latency_ratio", 1, 3),
    Column("x base", "latency_change", 1, 3),
    Column("Int8 MACs (%)", "int8_mac_fraction", 0.01, 1),
    Column("SQNR (dB)", "sqnr_db", 1, 1),
    Column("Allocated (MB)", "allocated_bytes", 1e6, 2),
    Column("Memory (MB)", "memory_bytes", 1e6, 1),
    Column("Peak RSS (MB)", "rss_bytes", 1e6, 0),
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


def summarize(run: Mapping[str, Any], baseline: Mapping[Key, Entry]) -> dict[str, tuple[Cell, ...]]:
    """The table's cells by variant, in the order of the run.

    Args:
        run: as pytest-benchmark's JSON.
        baseline: entries of the stored run; empty where there is none.
    """
    found: dict[str, dict[str, Cell]] = {}
    for benchmark in run["benchmarks"]:
        extra_info = benchmark["extra_info"]
        cells = found.setdefault(extra_info["variant"], {})
        now = entry(benchmark)
        stored = baseline.get(now.key)
        for name, metric in now.metrics.items():
            if name.startswith("latency") and extra_info["batch_size"] != BATCH_SIZE:
                continue
            # Of other images, accuracy is another quantity.
            alike = stored is not None and stored.images == now.images
            before = stored.metrics.get(name) if stored and alike else None
            cells[name] = Cell(metric.value, before.value if before else None)
    nothing = Cell(None, None)
    return {
        variant: tuple(cells.get(column.metric, nothing) for column in COLUMNS)
        for variant, cells in found.items()
    }


def markdown(summary: Mapping[str, Sequence[Cell]]) -> str:
    """The table as aligned Markdown, readable in a terminal too, without empty columns."""
    shown = [
        (index, column)
        for index, column in enumerate(COLUMNS)
        if any(cells[index].now is not None for cells in summary.values())
    ]
    rows = [["Model", *(column.heading for _, column in shown)]]
    rows += [
        [variant, *(cells[index].text(column) for index, column in shown)]
        for variant, cells in summary.items()
    ]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the heading first, as Markdown; the first column to the left."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])])
