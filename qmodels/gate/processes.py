"""Measure latencies in as many fresh processes as their verdicts take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qmodels.gate import intervals, sequential
from qmodels.gate.baseline import Baseline, Entry
from qmodels.gate.sequential import Case, Rule, Samples
from qmodels.gate.tolerances import Tolerances
from qmodels.gate.verdict import limit, unlike
from qmodels.measure import latency
from qmodels.measure.latency import Side
from qmodels.measure.stopwatch import PROBE
from qmodels.metric import Metric, measured

REFERENCE = "fp32"
# A stored run is held against many later ones: what it is off by, all of them see.
STORED_PROCESSES = 12
LEVEL = 0.025  # of each bound of the intervals that are shown
BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class Limit:
    """The model that shows the machine's limit for a case, and the case's work in units of it."""

    model: str
    work: float


@dataclass
class Timings:
    """All times of one case; ratios are logarithms, one of each process.

    Attributes:
        seconds: of every timed forward.
        x_fp32: by fp32's in the same process; empty for fp32 itself.
        x_probe: by those of the fixed kernels.
        changes: by the same model's in the base's process beside it.
        x_ceiling: of its multiply-accumulates a second, by those of the machine's limit.
        screened: how many of these were drawn before there was a suspicion.
        failure: the line that tells why there are no more; the others then say nothing.
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
        found = {"latency_ms": measured("latency_ms", 1e3 * float(np.median(self.seconds)))}
        for name, ratios in (("latency_ratio", self.x_fp32), ("probe_ratio", self.x_probe)):
            if ratios:
                low, high = bootstrap_median(ratios)
                found[name] = measured(
                    name,
                    math.exp(float(np.median(ratios))),
                    (math.exp(low), math.exp(high)),
                    samples=tuple(ratios[: self.screened]),
                    confirmation=tuple(ratios[self.screened :]),
                )
        if self.x_ceiling:
            low, high = bootstrap_median(self.x_ceiling)
            found["ceiling_share"] = measured(
                "ceiling_share",
                math.exp(float(np.median(self.x_ceiling))),
                (math.exp(low), math.exp(high)),
            )
        if self.changes:
            low, high = intervals.of_changes(self.changes, LEVEL)
            found["latency_change"] = measured(
                "latency_change",
                math.exp(intervals.estimate(self.changes)),
                (math.exp(low), math.exp(high)),
                samples=tuple(self.changes[: self.screened]),
                confirmation=tuple(self.changes[self.screened :]),
            )
        return found


def measure(
    cases: Sequence[Case],
    head: Side,
    base: Side | None,
    rules: Mapping[Case, Rule],
    threads: int,
    *,
    limits: Mapping[Case, Limit],
    to_store: bool,
) -> dict[Case, Timings]:
    """Time every case in fresh processes, as many as the rules ask for.

    A case of which a model fails, its own or one that it is held against, is given up.

    Args:
        base: what to take turns with; the rules are then about changes against it.
        rules: of the cases that are judged.
        limits: what cases are held against to tell how close they come to the machine's limit;
            not looked at beside a base, whose code may not know them.
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
        # Beside a base only the first processes are for ratios too.
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
        found = latency.measure([side for side in (head, base) if side], by_size, threads)
        samples = {}
        for case in alive:
            name, size = case
            into = timings[case]
            for needed in models(case, others):
                into.failure = into.failure or found.failures.get(needed)
            if into.failure:
                rules.pop(case, None)  # without one it is not drawn again
                continue
            times, seconds = found.sides[0], found.sides[0][case]
            into.seconds += seconds.ravel().tolist()
            if ratios:
                into.x_probe.append(latency.log_ratio(seconds, times[PROBE, size]))
            if ratios and name != REFERENCE:
                into.x_fp32.append(latency.log_ratio(seconds, times[REFERENCE, size]))
            limit = limits.get(case)
            if limit and not base:
                speed = latency.log_ratio(times[limit.model, size], seconds)
                into.x_ceiling.append(math.log(limit.work) + speed)
            if base:
                into.changes.append(latency.log_ratio(seconds, found.sides[1][case]))
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
    tolerance = tolerances.of("latency_change", variant, arithmetic)
    return None if tolerance is None else Rule(intervals.of_changes, math.log1p(tolerance))


def rule_stored(now: Entry, baseline: Baseline | None, tolerances: Tolerances) -> Rule | None:
    """How a case is judged against the stored run; None where that has nothing that fits.

    Args:
        now: the conditions of this run; it has no metrics yet.
    """
    before = baseline.entries.get(now.key) if baseline else None
    if before is None or unlike(now, before):
        return None
    name = "probe_ratio" if now.variant == REFERENCE else "latency_ratio"
    tolerance = limit(tolerances, name, now, before)
    stored = before.metrics.get(name)
    if tolerance is None or stored is None or not stored.samples:
        return None
    samples = stored.samples
    return Rule(
        lambda drawn, level: intervals.of_shift(drawn, samples, level), math.log1p(tolerance)
    )


def bootstrap_median(samples: Sequence[float]) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of a median (Efron, 1979)."""
    generator = np.random.default_rng(0)
    drawn = generator.choice(samples, size=(BOOTSTRAP_SAMPLES, len(samples)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)
