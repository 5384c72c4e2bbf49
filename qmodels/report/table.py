"""The study's table, made again from a run: size, accuracy, latency and memory by model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from qmodels.gate import Entry, Key, Run
from qmodels.measure.metric import Definition, Metric
from qmodels.measure.metrics import METRICS, depends

_BATCH_SIZE = 1  # of the latency columns
_MARKUP = re.compile(r"[<>@`|*\n]|\]\(|://|www\.")


@dataclass(frozen=True)
class Cell:
    """A value, and what the baseline has for it, where either is known."""

    now: float | None
    before: float | None

    def text(self, column: Definition) -> str:
        """The value, with the change against the baseline where there is one to see."""
        if self.now is None:
            return "-"
        shown = f"{self.now / column.divisor:.{column.digits}f}"
        if self.before is None:
            return shown
        change = f"{(self.now - self.before) / column.divisor:+.{column.digits}f}"
        return f"{shown} (=)" if float(change) == 0 else f"{shown} ({change})"


def _summarize(run: Run, baseline: Mapping[Key, Entry]) -> dict[str, tuple[Cell, ...]]:
    """The table's cells by variant, in the order of the run.

    Args:
        baseline: entries of the stored run; empty where there is none. What a base measured
            beside the run counts instead.
    """
    columns = _columns_of(run)
    by_variant: dict[str, dict[str, Cell]] = {}
    for key, now in run.entries.items():
        cells = by_variant.setdefault(now.variant, {})
        before = values_before(now, baseline)
        for name, metric in now.metrics.items():
            is_first = name not in cells and not depends(name, "batch")
            if key.batch_size == _BATCH_SIZE or is_first:
                cells[name] = Cell(metric.value, before.get(name))
    nothing = Cell(None, None)
    return {
        variant: tuple(cells.get(column.name, nothing) for column in columns)
        for variant, cells in by_variant.items()
    }


def values_before(now: Entry, baseline: Mapping[Key, Entry]) -> Mapping[str, float]:
    """The values of an entry's metrics in the run that it is compared with."""
    if now.base is not None:
        return now.base
    stored = baseline.get(now.key)
    # Of other images, accuracy is another quantity.
    if stored is None or stored.images != now.images:
        return {}
    return {name: metric.value for name, metric in stored.metrics.items()}


def _columns_of(run: Run) -> tuple[Definition, ...]:
    own = {
        name: metric
        for entry in run.entries.values()
        for name, metric in entry.metrics.items()
        if name not in METRICS
    }
    known = tuple(definition for definition in METRICS.values() if definition.label)
    return known + tuple(
        Definition(
            name,
            metric.unit,
            metric.better,
            "of a bench of the repository",
            label=f"{name} ({metric.unit})" if metric.unit else name,
            digits=3,
        )
        for name, metric in own.items()
    )


def summary_table(run: Run, baseline: Mapping[Key, Entry]) -> str:
    """The table as Markdown, without empty columns; see ``_summarize``."""
    summary, columns = _summarize(run, baseline), _columns_of(run)
    shown = [
        (index, column)
        for index, column in enumerate(columns)
        if any(cells[index].now is not None for cells in summary.values())
    ]
    headers = ["Model", *(column.label for _, column in shown)]
    rows = [
        [escape(variant), *(cells[index].text(column) for index, column in shown)]
        for variant, cells in summary.items()
    ]
    return markdown(headers, rows)


def metric(run: Run, variant: str, definition: Definition) -> Metric | None:
    """A metric of a variant, at batch size 1 where it has one; None if it was not measured."""
    name = definition.name
    entries = [e for e in run.entries.values() if e.variant == variant and name in e.metrics]
    single = [entry for entry in entries if entry.key.batch_size == _BATCH_SIZE]
    return (single or entries)[0].metrics[name] if entries else None


def value(run: Run, variant: str, definition: Definition) -> float | None:
    """The value of a metric of a variant; None if it was not measured."""
    measured = metric(run, variant, definition)
    return None if measured is None else measured.value


def escape(text: str) -> str:
    """Text of a record as Markdown that shows it: markup, links and mentions as a code span."""
    if not _MARKUP.search(text):
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
