"""What each metric of an entry is compared with."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from qmodels.gate import by_image, rules
from qmodels.gate.baseline import Baseline
from qmodels.gate.by_image import Change
from qmodels.gate.changes import StoredChanges
from qmodels.gate.comparable import incompatibility, origin_of, tolerance_of
from qmodels.gate.entry import Entry
from qmodels.gate.finding import ACCEPT, Verdict
from qmodels.gate.sequential import Rule
from qmodels.gate.tolerances import Origin, Tolerances
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import LATENCY_CHANGE, depends


@dataclass(frozen=True)
class Stored:
    """A stored value of a metric.

    Attributes:
        file: that it was read from; None of a base's.
        origin: where it was measured.
        accepted: how much further from it the metric may be, in its unit.
        by_image: what accuracy lost since, image by image, where that is known.
        level: how often a test of the images may err; None of metrics that have none.
    """

    metric: Metric
    file: str | None
    origin: Origin
    accepted: float
    by_image: Change | None
    level: float | None


@dataclass(frozen=True)
class Comparison:
    """A metric of an entry that is compared.

    Attributes:
        tolerance: how much worse it may be.
        rule: what judges its samples; None of a metric without them.
        stored: what with; None of a change, which was measured in turn with a base.
    """

    now: Entry
    name: str
    tolerance: float
    rule: Rule | None
    stored: Stored | None = None

    @property
    def metric(self) -> Metric:
        """What the entry has of it."""
        return self.now.metrics[self.name]


class Uncompared(NamedTuple):
    """A metric of an entry that is compared with nothing.

    Attributes:
        reason: a sentence.
    """

    name: str
    verdict: Verdict
    reason: str


class Obstacle(NamedTuple):
    """Why an entry is compared with nothing: the verdict on its metrics, and a sentence."""

    verdict: Verdict
    reason: str


def comparisons(
    now: Entry, baseline: Baseline | None, tolerances: Tolerances, accepted: StoredChanges | None
) -> Iterator[Comparison | Uncompared]:
    """What each gated metric of an entry is compared with.

    Args:
        accepted: the stored runs of this code and of a base, which show the accepted losses.
    """
    before = stored_entry(now, baseline)
    limits = {name: tolerance_of(name, now, now, tolerances) for name in now.metrics}
    gated = [name for name, limit in limits.items() if limit is not None]
    in_turn = limits.get(LATENCY_CHANGE.name)
    if in_turn is not None:  # what ran in turn with its base needs no stored run
        gated = [name for name in gated if not depends(name, "processor")]
    if isinstance(before, Obstacle):
        yield from (Uncompared(name, *before) for name in gated)
    else:
        yield from comparisons_with(before, now, gated, tolerances, accepted)
    if in_turn is not None:
        yield Comparison(now, LATENCY_CHANGE.name, in_turn, rules.in_turn(in_turn))


def comparisons_with(
    before: Entry,
    now: Entry,
    gated: Collection[str],
    tolerances: Tolerances,
    accepted: StoredChanges | None,
) -> Iterator[Comparison | Uncompared]:
    """As ``comparisons``, with an entry that fits.

    Args:
        gated: metrics of this run.
    """
    file = before.file or "The base"
    origin = origin_of(now, before)
    measured, in_turn = {*now.metrics, *now.unmeasured}, LATENCY_CHANGE.name in now.metrics
    for name, metric in before.metrics.items():
        limit = tolerance_of(name, now, before, tolerances)
        if limit is None:
            continue
        if name in gated:
            change = by_image.change(name, now, before)
            stored = Stored(
                metric,
                before.file,
                origin,
                accepted=accepted.loss(now, name, metric, limit) if accepted else 0.0,
                by_image=change,
                level=tolerances.level(name, now.variant, now.arithmetic) if change else None,
            )
            samples = metric.samples if now.metrics[name].samples else ()
            rule = rules.against(name, samples, limit) if samples else None
            yield Comparison(now, name, limit, rule, stored)
        elif name not in measured and not (in_turn and depends(name, "processor")):
            yield Uncompared(name, "missing", f"{file} has it, and this run did not measure it")
    for name in gated:
        if name not in before.metrics:
            yield Uncompared(name, "new", f"{file} has {now.name} without it")


def stored_entry(now: Entry, baseline: Baseline | None) -> Entry | Obstacle:
    """The entry of a baseline that one can be compared with."""
    if baseline is None:
        lacks = f"No run of {now.key.network} is stored for {now.machine_class}"
        return Obstacle("missing", f"{lacks}: {ACCEPT}")
    before = baseline.entries.get(now.key)
    if before is None:
        lacks = baseline.absence(now.name, now.variant)
        if baseline.from_base or now.machine_class in baseline.partial_for:
            return Obstacle("new", lacks)
        return Obstacle("missing", f"{lacks}: {ACCEPT}")
    reason = incompatibility(now, before, from_base=baseline.from_base)
    if reason:
        return Obstacle("missing", f"{baseline.shown} was measured with {reason}, or {ACCEPT}")
    return before
