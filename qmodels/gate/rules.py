"""The rule that judges a latency: against a base in turn, or against a stored run."""

import math
from collections.abc import Sequence

from qmodels.gate.baseline import Baseline
from qmodels.gate.comparable import incompatibility, tolerance_of
from qmodels.gate.entry import Entry
from qmodels.gate.intervals import rank_sum_interval, signed_rank_interval
from qmodels.gate.latency import REFERENCE
from qmodels.gate.sequential import Rule
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metrics import LATENCY_CHANGE, LATENCY_RATIO, PROBE_RATIO


def in_turn(tolerance: float) -> Rule:
    """The rule for changes against a base.

    Args:
        tolerance: as a fraction.
    """
    return Rule(LATENCY_CHANGE.name, signed_rank_interval, math.log1p(tolerance))


def against(metric: str, stored: Sequence[float], tolerance: float) -> Rule:
    """The rule for a ratio and the samples of a stored one.

    Args:
        tolerance: as a fraction.
    """
    return Rule(
        metric,
        lambda samples, alpha: rank_sum_interval(samples, stored, alpha),
        math.log1p(tolerance),
    )


def stored_ratio(variant: str) -> str:
    """The metric by which a variant is compared with a stored run."""
    return (PROBE_RATIO if variant == REFERENCE else LATENCY_RATIO).name


def rule_in_turn(variant: str, arithmetic: str, tolerances: Tolerances) -> Rule | None:
    """The rule of a case that has a base; None where its change is not gated."""
    tolerance = tolerances.tolerance(LATENCY_CHANGE.name, variant, arithmetic)
    return None if tolerance is None else in_turn(tolerance)


def rule_against(now: Entry, baseline: Baseline | None, tolerances: Tolerances) -> Rule | None:
    """The rule of a case against the stored run; None where that has nothing that fits.

    Args:
        now: the conditions of this run; it has no metrics yet.
    """
    before = baseline.entries.get(now.key) if baseline else None
    if before is None or incompatibility(now, before):
        return None
    name = stored_ratio(now.variant)
    tolerance, stored = tolerance_of(name, now, before, tolerances), before.metrics.get(name)
    if tolerance is None or stored is None or not stored.samples:
        return None
    return against(name, stored.samples, tolerance)
