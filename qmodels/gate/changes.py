"""Losses that the baselines of this code accept, and those of a base do not."""

from collections.abc import Mapping
from dataclasses import dataclass

from qmodels.gate.entry import Entry, Key
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import depends


@dataclass(frozen=True)
class StoredChanges:
    """The stored runs that fit this machine, as the code under test has them and as a base has.

    A pull request stores a loss that it means. The loss then counts as accepted against its base.
    """

    head: Mapping[Key, Entry]
    base: Mapping[Key, Entry]

    def loss(self, now: Entry, name: str, measured: Metric, tolerance: float) -> float:
        """By how much more a metric may be worse than the base's, in its unit.

        Args:
            measured: of the base, on this machine. It is what the head's stored entry is compared
                with where the base stores none of this machine class.
            tolerance: of the metric; a smaller loss is none.
        """
        stored = self.head.get(now.key)
        if stored is None or name not in stored.metrics or depends(name, "processor"):
            return 0.0
        before = self.base.get(now.key)
        if before and before.machine_class == stored.machine_class:
            old = before.metrics.get(name)
        else:
            old = measured if stored.machine_class == now.machine_class else None
        if old is None:
            return 0.0
        loss = worsening(stored.metrics[name], old)
        return loss if loss > old.slack(tolerance) else 0.0


def worsening(now: Metric, before: Metric) -> float:
    """The change of a metric for the worse, in its unit."""
    return now.value - before.value if now.better == "lower" else before.value - now.value
