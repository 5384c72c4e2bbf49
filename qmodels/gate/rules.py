"""The rules that judge ratios of times: against a base in turn, and against a stored run."""

import math
from collections.abc import Sequence

from qmodels.gate.comparable import Fit
from qmodels.gate.intervals import rank_sum_interval, signed_rank_interval
from qmodels.gate.sequential import Rule
from qmodels.measure.metrics import LATENCY_CHANGE


def rule_in_turn(tolerance: float) -> Rule:
    """The rule for changes against a base.

    Args:
        tolerance: as a fraction.
    """
    return Rule(LATENCY_CHANGE.name, signed_rank_interval, math.log1p(tolerance))


def rule_against(metric: str, stored: Sequence[float], tolerance: float) -> Rule:
    """The rule for a ratio and the samples of a stored one.

    Args:
        tolerance: as a fraction.
    """
    return Rule(
        metric,
        lambda samples, alpha: rank_sum_interval(samples, stored, alpha),
        math.log1p(tolerance),
    )


def stored_rules(before: Fit) -> list[Rule]:
    """A rule for each metric that a stored entry has samples of."""
    metrics = before.entry.metrics
    return [
        rule_against(name, metrics[name].samples, tolerance)
        for name, tolerance in before.tolerances.items()
        if metrics[name].samples
    ]
