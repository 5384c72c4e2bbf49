"""Which variant to take: the best whose loss of accuracy is within a margin."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qmodels.gate import Entry, Run
from qmodels.gate.intervals import Interval, rank_sum_interval
from qmodels.gate.latency import ALPHA
from qmodels.gate.run import by_reason, reasons_of
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import LATENCY, LATENCY_RATIO, MEMORY, SIZE
from qmodels.report.accuracy import Accuracy, accuracy_of
from qmodels.report.speed import speeds
from qmodels.report.table import metric
from qmodels.system.defaults import MAX_DROP, REFERENCE
from qmodels.system.errors import NothingMeasured, UserError

TORCH = "torch"

# What to have least of, and how the variant is called that has it.
PREFERENCES: Mapping[str, str] = {
    "latency": "the fastest",
    "size": "the smallest",
    "memory": "the one with the least memory",
}
# Values that differ by less are equal: names and paddings in files, and for memory the largest
# tolerance of the gate on one host.
_EQUAL = {"size": 0.01, "memory": 0.03}


@dataclass(frozen=True)
class Candidate:
    """A variant on the CPU with its accuracy.

    Attributes:
        drop: against fp32 on the same images, in points of top-1 or percent of the score.
        metrics: by preference, those that were measured; of latency the ratio to fp32.
    """

    variant: str
    runtime: str
    arithmetic: str
    drop: Metric
    images: int | None
    metrics: Mapping[str, Metric]

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the drop; without bounds where the run has none."""
        return self.drop.ci or (-math.inf, math.inf)

    def value(self, prefer: str) -> float:
        """The value to be minimized; infinite where it was not measured."""
        return self.metrics[prefer].value if prefer in self.metrics else math.inf


@dataclass(frozen=True)
class Choice:
    """The recommendation of a run.

    Attributes:
        max_drop: what may be lost, in the unit of ``accuracy.margin``.
        accuracy: what the run measures it by.
        reference: fp32; None where its accuracy was not measured.
        best: the best variant that meets the margin, then what is not distinguishable from it;
            empty where none does.
        with_torch: the same among variants that torch runs, where another package runs the best.
        undecided: variants that may meet the margin, the best first.
        exceeding: variants that lose more, in that order too.
        best_float: the fastest float32 variant of the run.
        unmeasured: variants that were not compared, by the reason.
    """

    max_drop: float
    accuracy: Accuracy
    prefer: str
    batch_size: int
    reference: Candidate | None
    best: tuple[Candidate, ...]
    with_torch: tuple[Candidate, ...]
    undecided: tuple[Candidate, ...]
    exceeding: tuple[Candidate, ...]
    best_float: Candidate | None
    unmeasured: Mapping[str, tuple[str, ...]]

    @property
    def status(self) -> int:
        """Exit status: 0 if a variant meets the margin, 1 if none can, 3 if that is undecided."""
        if self.best:
            return 0
        return 3 if self.undecided else 1


def choose(
    run: Run,
    max_drop: float = MAX_DROP,
    prefer: str = "latency",
    *,
    runtime: str | None = None,
    batch_size: int | None = None,
) -> Choice:
    """Choose among the variants of a run that run on the CPU, other than fp32.

    A variant meets the margin if the upper end of the interval of its drop does.

    Args:
        max_drop: what may be lost: points of top-1, or percent of the score.
        prefer: what to have least of, a key of ``PREFERENCES``.
        runtime: only variants that this executes.
        batch_size: images in a forward, for latency; by default the fewest of the run.

    Raises:
        NothingMeasured: no variant has both accuracy and what is preferred.
        UserError: the margin is no number, or no variant has that runtime or batch size.
    """
    _check_margin(max_drop)
    sizes = list(speeds(run)) or [1]
    if batch_size is None:
        batch_size = min(sizes)
    if batch_size not in sizes:
        known = " or ".join(map(str, sizes))
        raise UserError(f"--batch-size {batch_size}: the run has no such latency: choose {known}")
    measured = candidates(run, batch_size)
    others = [c for name, c in measured.items() if name != REFERENCE and prefer in c.metrics]
    if not others:
        raise NothingMeasured(
            f"no recommendation: no variant but {REFERENCE} has accuracy and {prefer}: "
            "run all benches"
        )
    if runtime:
        runtimes = sorted({candidate.runtime for candidate in others})
        others = [candidate for candidate in others if candidate.runtime == runtime]
        if not others:
            raise UserError(
                f"--runtime {runtime}: no variant of the run has it: choose {', '.join(runtimes)}"
            )
    others.sort(key=lambda candidate: candidate.value(prefer))
    fitting = [c for c in others if c.interval[1] <= max_drop]
    best = _pick(fitting, prefer)
    with_torch: tuple[Candidate, ...] = ()
    if best and best[0].runtime != TORCH:
        with_torch = _pick([c for c in fitting if c.runtime == TORCH], prefer)
    timed = [candidate for candidate in measured.values() if "latency" in candidate.metrics]
    floats = [candidate for candidate in timed if candidate.arithmetic == "float32"]
    return Choice(
        max_drop=max_drop,
        accuracy=accuracy_of(run),
        prefer=prefer,
        batch_size=batch_size,
        reference=measured.get(REFERENCE),
        best=best,
        with_torch=with_torch,
        undecided=tuple(c for c in others if c.interval[0] <= max_drop < c.interval[1]),
        exceeding=tuple(c for c in others if c.interval[0] > max_drop),
        best_float=min(floats, key=lambda c: c.value("latency"), default=None),
        unmeasured=_unmeasured(run, measured, prefer),
    )


def _check_margin(max_drop: float) -> None:
    if not math.isfinite(max_drop):
        raise UserError(f"margin {max_drop}: choose a number of points, such as {MAX_DROP}")


def candidates(run: Run, batch_size: int) -> dict[str, Candidate]:
    """The variants of which accuracy was measured and that run on the CPU, by name."""
    by_variant: dict[str, list[Entry]] = {}
    for entry in run.entries.values():
        by_variant.setdefault(entry.variant, []).append(entry)
    measured, drop = {}, accuracy_of(run).drop.name
    for name, entries in by_variant.items():
        evaluated = next((entry for entry in entries if drop in entry.metrics), None)
        if evaluated is None or _runs_on_gpu(evaluated):
            continue
        metrics = {
            "size": metric(run, name, SIZE),
            "memory": metric(run, name, MEMORY),
        }
        for entry in entries:
            if entry.key.batch_size == batch_size and LATENCY.name in entry.metrics:
                # fp32, which the others are compared with, has no ratio.
                ratio = LATENCY_RATIO.of(1.0) if name == REFERENCE else None
                metrics["latency"] = entry.metrics.get(LATENCY_RATIO.name, ratio)
        measured[name] = Candidate(
            variant=name,
            runtime=_runtime_of(evaluated),
            arithmetic=evaluated.arithmetic,
            drop=evaluated.metrics[drop],
            images=evaluated.images,
            metrics={key: value for key, value in metrics.items() if value and _is_positive(value)},
        )
    return measured


def _is_positive(metric: Metric) -> bool:
    """Whether a metric and its interval are above zero, as ratios are made of it."""
    return all(number > 0 for number in (metric.value, *(metric.ci or ())))


def _runs_on_gpu(entry: Entry) -> bool:
    return bool(entry.gpu)


def _runtime_of(entry: Entry) -> str:
    """The runtime of a variant: its engine where that is a package of its own, else torch."""
    packages = (entry.runtime or "").split(", ")
    names = [package.partition(" ")[0] for package in packages]
    return entry.engine if entry.engine in names else TORCH


def _pick(candidates: Sequence[Candidate], prefer: str) -> tuple[Candidate, ...]:
    """The best, then those that are not distinguishable from it; empty without candidates.

    Of variants with equal files or memory the fastest is the best, and of equally fast ones that
    with the least loss of accuracy. That one variant equals two others does not make these equal:
    the best is none that another is surely better than, and some that equal it may be such.
    """
    if not candidates:
        return ()
    least = min(candidates, key=lambda candidate: candidate.value(prefer))
    equal = [c for c in candidates if c is least or not differ(least, c, prefer)]
    if prefer == "latency":
        equal.sort(key=lambda candidate: candidate.interval[1])
        best = next(c for c in equal if c is least or not any(_is_faster(d, c) for d in equal))
    else:
        best = _pick([c for c in equal if "latency" in c.metrics] or equal, "latency")[0]
    others = (c for c in candidates if c is not best and not differ(best, c, prefer))
    return (best, *others)


def differ(first: Candidate, second: Candidate, prefer: str) -> bool:
    """Whether two candidates surely differ in what is preferred.

    Latencies without an interval differ as their medians do.
    """
    if prefer in _EQUAL:
        low, high = sorted((first.value(prefer), second.value(prefer)))
        return high > (1 + _EQUAL[prefer]) * low
    gain = speed_up(first, second)
    return gain is None or not gain.low <= 1 <= gain.high


def _is_faster(first: Candidate, second: Candidate) -> bool:
    gain = speed_up(first, second)
    return gain is not None and gain.low > 1


def speed_up(fast: Candidate, slow: Candidate) -> Interval | None:
    """Interval for how many times faster a candidate is than another.

    None where the processes are too few for the confidence of ``ALPHA``, or are not known.
    """
    samples = [
        (*latency.samples, *latency.confirmation)
        for latency in (slow.metrics.get("latency"), fast.metrics.get("latency"))
        if latency
    ]
    if len(samples) < 2 or not all(samples):
        return None
    shift = rank_sum_interval(samples[0], samples[1], ALPHA)
    if shift.level < 1 - 2 * ALPHA:
        return None
    return Interval(math.exp(shift.low), math.exp(shift.high), shift.level)


def _unmeasured(
    run: Run, measured: Mapping[str, Candidate], prefer: str
) -> dict[str, tuple[str, ...]]:
    reasons = reasons_of(run.skipped)
    reasons |= {failure.variant: "the bench failed" for failure in run.failures if failure.variant}
    for entry in run.entries.values():
        if _runs_on_gpu(entry):
            reasons[entry.variant] = "a GPU runs it, and this compares variants on the CPU"
        elif entry.variant not in measured:
            reasons.setdefault(entry.variant, "its accuracy was not measured")
        elif prefer not in measured[entry.variant].metrics:
            reasons.setdefault(entry.variant, f"its {prefer} was not measured")
    compared = {name for name, candidate in measured.items() if prefer in candidate.metrics}
    return by_reason({name: why for name, why in reasons.items() if name not in compared})
