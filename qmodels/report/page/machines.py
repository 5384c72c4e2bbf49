"""Runs of several machines, side by side on a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qmodels.gate import Run
from qmodels.report.accuracy import accuracy_of
from qmodels.report.choice import choose
from qmodels.report.speed import speeds
from qmodels.report.table import metric
from qmodels.system.errors import NothingMeasured, UserError


@dataclass(frozen=True)
class Machine:
    """A run among others.

    Attributes:
        best: the variant that it recommends; None without one.
    """

    machine_class: str
    best: str | None
    cells: Mapping[str, Sequence[str]]


def headings(run: Run) -> list[str]:
    """Headings of the columns that each machine has."""
    return ["x fp32", "x best float32", f"{accuracy_of(run).label} vs fp32"]


def side_by_side(runs: Sequence[Run], max_drop: float) -> list[Machine]:
    """The runs side by side; empty where there is one.

    Raises:
        UserError: two of them have the same machine class.
    """
    columns: list[Machine] = []
    for run in runs:
        classes = dict.fromkeys(entry.machine_class for entry in run.entries.values())
        names = dict.fromkeys(entry.variant for entry in run.entries.values())
        single = speeds(run).get(1, {})
        cells = {}
        for name in names:
            drop = metric(run, name, accuracy_of(run).drop)
            speed = single.get(name)
            ratios = (speed.over_fp32, speed.over_best) if speed else (None, None)
            cells[name] = [
                *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
                f"{round(-drop.value, 2) + 0:+.2f}" if drop else "-",
            ]
        name = ", ".join(classes)
        if name in [column.machine_class for column in columns]:
            raise UserError(f"two runs are of {name}: name one of each machine class")
        columns.append(Machine(name, _best_variant(run, max_drop), cells))
    return columns if len(columns) > 1 else []


def _best_variant(run: Run, max_drop: float) -> str | None:
    try:
        return next((candidate.variant for candidate in choose(run, max_drop).best), None)
    except NothingMeasured:
        return None
