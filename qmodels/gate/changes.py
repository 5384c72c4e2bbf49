"""What the stored runs of this code accept that those of a base do not have."""

from collections.abc import Mapping

from qmodels.gate.baseline import Baseline
from qmodels.gate.entry import Key
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metric import Metric

LATENCIES = ("latency_change", "latency_ratio", "probe_ratio")
# By how much the head's stored run has moved a metric for the worse, in the metric's unit.
Changes = Mapping[tuple[Key, str], float]


def changes(head: Baseline | None, base: Baseline | None, tolerances: Tolerances) -> Changes:
    """What the head's stored run has accepted: metrics that it moved by more than is tolerated.

    Args:
        head, base: stored runs of one machine class, as each has it.
    """
    found = {}
    for key, now in (head.entries if head else {}).items():
        before = base.entries.get(key) if base else None
        for name, metric in now.metrics.items() if before else ():
            old = before.metrics.get(name) if before else None
            tolerance = tolerances.of(name, now.variant, now.arithmetic)
            if old is None or tolerance is None or name in LATENCIES:
                continue
            loss = worse_by(metric, old)
            if loss > old.slack(tolerance):
                found[key, name] = loss
    return found


def worse_by(now: Metric, before: Metric) -> float:
    """How much worse a metric is than before, in its unit."""
    return now.value - before.value if now.better == "lower" else before.value - now.value
