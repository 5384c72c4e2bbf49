"""Latencies of a case: the metrics that come of its times, and the rules that judge them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qmodels.gate.baseline import Baseline
from qmodels.gate.comparable import incompatibility, limit
from qmodels.gate.entry import Entry
from qmodels.gate.intervals import (
    Interval,
    hodges_lehmann,
    rank_sum_interval,
    sign_interval,
    signed_rank_interval,
)
from qmodels.gate.sequential import Rule
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metric import Definition, Metric
from qmodels.measure.metrics import (
    LATENCY,
    LATENCY_CHANGE,
    LATENCY_RATIO,
    PROBE_RATIO,
)

REFERENCE = "fp32"
# A stored run is compared with many later ones: its error enters every comparison.
STORED_PROCESSES = 12
ALPHA = 0.025  # one-sided error of each bound of the intervals that are shown


@dataclass
class Timings:
    """All times of one case; ratios are logarithms, one for each process.

    Attributes:
        seconds: of every timed forward.
        x_fp32: by fp32's in the same process; empty for fp32 itself.
        x_probe: by those of the fixed kernels.
        changes: log(head / base), paired by visit.
        screened: how many of these were drawn before there was a suspicion.
        base_seconds: of every timed forward of the base, where there is one.
        failure: why the case was given up, in a line; the other attributes then mean nothing.
    """

    seconds: list[float] = field(default_factory=list)
    x_fp32: list[float] = field(default_factory=list)
    x_probe: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    screened: int = 0
    base_seconds: list[float] = field(default_factory=list)
    failure: str | None = None

    def metrics(self) -> dict[str, Metric]:
        """The metrics of the case."""
        metrics = {LATENCY.name: LATENCY.of(1e3 * float(np.median(self.seconds)))}
        for metric, ratios in (
            (LATENCY_RATIO, self.x_fp32),
            (PROBE_RATIO, self.x_probe),
        ):
            if ratios:
                center, interval = float(np.median(ratios)), sign_interval(ratios, ALPHA)
                metrics[metric.name] = self.ratio(metric, ratios, center, interval)
        if self.changes:
            center, interval = (
                hodges_lehmann(self.changes),
                signed_rank_interval(self.changes, ALPHA),
            )
            metrics[LATENCY_CHANGE.name] = self.ratio(
                LATENCY_CHANGE, self.changes, center, interval
            )
        return metrics

    def ratio(
        self, metric: Definition, logarithms: Sequence[float], center: float, interval: Interval
    ) -> Metric:
        """A ratio with its interval; with the samples, where the gate looks at them."""
        gated = bool(metric.tolerances)
        return metric.of(
            math.exp(center),
            (math.exp(interval.low), math.exp(interval.high)),
            ci_level=interval.level,
            samples=tuple(logarithms[: self.screened]) if gated else (),
            confirmation=tuple(logarithms[self.screened :]) if gated else (),
        )


def paired_rule(variant: str, arithmetic: str, tolerances: Tolerances) -> Rule | None:
    """How a case is judged against a base that takes turns with it."""
    tolerance = tolerances.tolerance(LATENCY_CHANGE.name, variant, arithmetic)
    return None if tolerance is None else Rule(signed_rank_interval, math.log1p(tolerance))


def stored_ratio(variant: str) -> Definition:
    """The metric by which a variant is compared with a stored run."""
    return PROBE_RATIO if variant == REFERENCE else LATENCY_RATIO


def stored_rule(now: Entry, baseline: Baseline | None, tolerances: Tolerances) -> Rule | None:
    """How a case is judged against the stored run; None where that has nothing that fits.

    Args:
        now: the conditions of this run; it has no metrics yet.
    """
    before = baseline.entries.get(now.key) if baseline else None
    if before is None or incompatibility(now, before):
        return None
    name = stored_ratio(now.variant).name
    tolerance = limit(tolerances, name, now, before)
    stored = before.metrics.get(name)
    if tolerance is None or stored is None or not stored.samples:
        return None
    samples = stored.samples
    return Rule(
        lambda drawn, alpha: rank_sum_interval(drawn, samples, alpha), math.log1p(tolerance)
    )
