"""Compare a run with a stored one or with another checkout: tolerances, samples, verdicts."""

from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.gate.accept import Accepted, accept, keys_to_accept
from qmodels.gate.baseline import Baseline, baseline_path, find_baseline, read_baseline
from qmodels.gate.changes import StoredChanges
from qmodels.gate.coverage import coverage
from qmodels.gate.details import NO_DETAILS, Details
from qmodels.gate.entry import Entry, Key, Measured, Provenance, Stats, Timing, bench_name
from qmodels.gate.finding import VERDICTS, Failure, Finding, exit_status, lines
from qmodels.gate.record import SECTION, Verdicts, read_run
from qmodels.gate.run import Run
from qmodels.gate.stored import FORMAT, times_path
from qmodels.gate.tolerances import Tolerances, read_tolerances
from qmodels.gate.verdict import compare, compare_run

__all__ = [
    "FORMAT",
    "NO_DETAILS",
    "SECTION",
    "VERDICTS",
    "Accepted",
    "Baseline",
    "Details",
    "Entry",
    "Failure",
    "Finding",
    "Key",
    "LayerSqnr",
    "Measured",
    "Provenance",
    "Run",
    "Stats",
    "StoredChanges",
    "Timing",
    "Tolerances",
    "Verdicts",
    "accept",
    "baseline_path",
    "bench_name",
    "compare",
    "compare_run",
    "coverage",
    "exit_status",
    "find_baseline",
    "keys_to_accept",
    "lines",
    "read_baseline",
    "read_run",
    "read_tolerances",
    "times_path",
]
