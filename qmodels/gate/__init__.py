"""Hold a run against a stored one or against another checkout: tolerances, samples, verdicts."""

from qmodels.gate.baseline import (
    Accepted,
    Baseline,
    Entry,
    Key,
    accept,
    accept_into,
    baseline_path,
    entries_of,
    entry,
    find_baseline,
    network_name,
    read_baseline,
    read_run,
    shown,
)
from qmodels.gate.classes import nearest
from qmodels.gate.tolerances import Tolerances, read_tolerances
from qmodels.gate.verdict import VERDICTS, Changes, Finding, changes, compare

__all__ = [
    "VERDICTS",
    "Accepted",
    "Baseline",
    "Changes",
    "Entry",
    "Finding",
    "Key",
    "Tolerances",
    "accept",
    "accept_into",
    "baseline_path",
    "changes",
    "compare",
    "entries_of",
    "entry",
    "find_baseline",
    "nearest",
    "network_name",
    "read_baseline",
    "read_run",
    "read_tolerances",
    "shown",
]
