"""Compare a run with a stored one or with another checkout: tolerances, samples, verdicts."""

from qmodels.gate.accept import Accepted, accept, accept_into
from qmodels.gate.baseline import Baseline, baseline_path, find_baseline, read_baseline
from qmodels.gate.changes import Changes, changes
from qmodels.gate.entry import Entry, Key, Provenance, entry
from qmodels.gate.run import Run, network_name, read_run, shown
from qmodels.gate.tolerances import Tolerances, read_tolerances
from qmodels.gate.verdict import VERDICTS, Finding, compare, lines

__all__ = [
    "VERDICTS",
    "Accepted",
    "Baseline",
    "Changes",
    "Entry",
    "Finding",
    "Key",
    "Provenance",
    "Run",
    "Tolerances",
    "accept",
    "accept_into",
    "baseline_path",
    "changes",
    "compare",
    "entry",
    "find_baseline",
    "lines",
    "network_name",
    "read_baseline",
    "read_run",
    "read_tolerances",
    "shown",
]
