"""Measure latencies in as many fresh processes as their verdicts take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qmodels.gate import sequential
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
from qmodels.gate.sequential import Case, Rule, Samples
from qmodels.gate.tolerances import Tolerances
from qmodels.measure import latency
from qmodels.measure.latency import Arm
from qmodels.measure.latency_worker import PROBE
from qmodels.measure.metric import Metric, make_metric

REFERENCE = "fp32"
# A stored run is compared with many later ones: its error enters every comparison.
STORED_PROCESSES = 12
ALPHA = 0.025  # one-sided error of each bound of the intervals that are shown


@dataclass(frozen=True)
class Limit:
    """The model that shows the machine's limit for a case, and the case's work in units of it."""

    model: str
    work: float


@dataclass
class Timings:
    """All times of one case; ratios are logarithms, one for each process.

    Attributes:
        seconds: of every timed forward.
        x_fp32: by fp32's in the same process; empty for fp32 itself.
        x_probe: by those of the fixed kernels.
        changes: log(head / base), paired by visit.
        x_ceiling: of its multiply-accumulates a second, by those of the machine's limit.
        screened: how many of these were drawn before there was a suspicion.
        failure: why the case was given up, in a line; the other attributes then mean nothing.
    """

    seconds: list[float] = field(default_factory=list)
    x_fp32: list[float] = field(default_factory=list)
    x_probe: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    x_ceiling: list[float] = field(default_factory=list)
    screened: int = 0
    failure: str | None = None

    def metrics(self) -> dict[str, Metric]:
        """The metrics of the case."""
        metrics = {"latency_ms": make_metric("latency_ms", 1e3 * float(np.median(self.seconds)))}
        for name, ratios in (
            ("latency_ratio", self.x_fp32),
            ("probe_ratio", self.x_probe),
            ("ceiling_share", self.x_ceiling),
        ):
            if ratios:
                center = float(np.median(ratios))
                metrics[name] = self.ratio(name, ratios, center, sign_interval(ratios, ALPHA))
        if self.changes:
            center, interval = (
                hodges_lehmann(self.changes),
                signed_rank_interval(self.changes, ALPHA),
            )
            metrics["latency_change"] = self.ratio("latency_change", self.changes, center, interval)
        return metrics

    def ratio(
        self, name: str, logarithms: Sequence[float], center: float, interval: Interval
    ) -> Metric:
        """A ratio with its interval; with the samples, where the gate looks at them."""
        gated = name != "ceiling_share"
        return make_metric(
            name,
            math.exp(center),
            (math.exp(interval.low), math.exp(interval.high)),
            ci_level=interval.level,
            samples=tuple(logarithms[: self.screened]) if gated else (),
            confirmation=tuple(logarithms[self.screened :]) if gated else (),
        )


def measure(
    cases: Sequence[Case],
    head: Arm,
    base: Arm | None,
    rules: Mapping[Case, Rule],
    threads: int,
    *,
    limits: Mapping[Case, Limit],
    to_store: bool,
) -> dict[Case, Timings]:
    """Time every case in fresh processes, as many as the rules ask for.

    A case is given up if its model fails, or one that it is compared with.

    Args:
        base: what to take turns with; the rules are then about changes against it.
        rules: of the cases that are judged.
        limits: the models that show the machine's limit for a case; unused with a base revision,
            whose code may not know them.
        to_store: no rules but a fixed number of processes, as a baseline wants them.

    Raises:
        UserError: the process of a whole side failed.
    """
    timings = {case: Timings() for case in cases}
    rules = dict(rules)

    def models(case: Case, others: Sequence[str]) -> list[str]:
        """What has to run for a case."""
        limit = [limits[case].model] if case in limits and not base else []
        return [*others, *limit, case[0]]

    def draw(wanted: Sequence[Case]) -> dict[Case, float]:
        alive = [case for case in wanted if timings[case].failure is None]
        if not alive:
            return {}
        # Against a base revision, only the first processes also give ratios.
        ratios = base is None or not timings[alive[0]].x_probe
        others = [PROBE, REFERENCE] if ratios else []
        by_size = {
            size: list(
                dict.fromkeys(
                    name for case in alive if case[1] == size for name in models(case, others)
                )
            )
            for size in dict.fromkeys(size for _, size in alive)
        }
        times = latency.measure([side for side in (head, base) if side], by_size, threads)
        samples = {}
        for case in alive:
            name, size = case
            into = timings[case]
            for needed in models(case, others):
                into.failure = into.failure or times.failures.get(needed)
            if into.failure:
                rules.pop(case, None)  # without one it is not drawn again
                continue
            head_times = times.arms[0]
            seconds = head_times[case]
            into.seconds += seconds.ravel().tolist()
            if ratios:
                into.x_probe.append(latency.log_ratio(seconds, head_times[PROBE, size]))
            if ratios and name != REFERENCE:
                into.x_fp32.append(latency.log_ratio(seconds, head_times[REFERENCE, size]))
            limit = limits.get(case)
            if limit and not base:
                speed = latency.log_ratio(head_times[limit.model, size], seconds)
                into.x_ceiling.append(math.log(limit.work) + speed)
            if base:
                into.changes.append(latency.log_ratio(seconds, times.arms[1][case]))
            samples[case] = (into.changes or into.x_fp32 or into.x_probe)[-1]
        return samples

    if to_store:
        drawn = {case: Samples(()) for case in cases}
        for _ in range(STORED_PROCESSES):
            draw(cases)
    else:
        drawn = sequential.run(cases, draw, rules)
    for case, into in timings.items():
        into.screened = STORED_PROCESSES if to_store else len(drawn[case].screened)
    return timings


def rule_beside(variant: str, arithmetic: str, tolerances: Tolerances) -> Rule | None:
    """How a case is judged against a base that takes turns with it."""
    tolerance = tolerances.tolerance("latency_change", variant, arithmetic)
    return None if tolerance is None else Rule(signed_rank_interval, math.log1p(tolerance))


def rule_stored(now: Entry, baseline: Baseline | None, tolerances: Tolerances) -> Rule | None:
    """How a case is judged against the stored run; None where that has nothing that fits.

    Args:
        now: the conditions of this run; it has no metrics yet.
    """
    before = baseline.entries.get(now.key) if baseline else None
    if before is None or incompatibility(now, before):
        return None
    name = "probe_ratio" if now.variant == REFERENCE else "latency_ratio"
    tolerance = limit(tolerances, name, now, before)
    stored = before.metrics.get(name)
    if tolerance is None or stored is None or not stored.samples:
        return None
    samples = stored.samples
    return Rule(
        lambda drawn, alpha: rank_sum_interval(drawn, samples, alpha), math.log1p(tolerance)
    )
