"""Hold a run against a stored one or against another checkout: tolerances, samples, verdicts."""

from qmodels.gate.baseline import (
    Baseline,
    Entry,
    accept,
    baseline_path,
    entry,
    read_baseline,
    read_run,
    vanished,
)
from qmodels.gate.tolerances import Tolerances, read_tolerances
from qmodels.gate.verdict import Finding, compare, in_turn

__all__ = [
    "Baseline",
    "Entry",
    "Finding",
    "Tolerances",
    "accept",
    "baseline_path",
    "compare",
    "entry",
    "in_turn",
    "read_baseline",
    "read_run",
    "read_tolerances",
    "vanished",
]
