"""The stored value or the samples that each metric of an entry is compared with."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from qmodels.gate.baseline import Baseline
from qmodels.gate.changes import StoredChanges
from qmodels.gate.comparable import Fit, Unfit, fit
from qmodels.gate.entry import Entry
from qmodels.gate.finding import Verdict
from qmodels.gate.image_test import ImageTest, image_test
from qmodels.gate.rules import rule_in_turn, stored_rules
from qmodels.gate.sequential import Rule
from qmodels.gate.tolerances import Origin, Tolerances
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import LATENCY_CHANGE, depends


@dataclass(frozen=True)
class InTurn:
    """A change of a latency against a base that took turns with this code.

    Attributes:
        metric: the change, by name and with its samples.
        tolerance: as a fraction.
    """

    name: str
    metric: Metric
    tolerance: float
    rule: Rule


@dataclass(frozen=True)
class Comparison:
    """A metric and a stored value of it.

    Attributes:
        tolerance: how much worse it may be: see ``Metric.tolerance``.
        file: that the stored value was read from; None of a base's.
        accepted: how much more the baselines accept, in the metric's unit.
        images: the test of the images, where accuracy is known image by image.
        rule: what judges samples, where both have them.
    """

    name: str
    metric: Metric
    stored: Metric
    tolerance: float
    file: str | None
    origin: Origin
    accepted: float
    images: ImageTest | None
    rule: Rule | None


class Uncompared(NamedTuple):
    """A metric that is compared with nothing."""

    name: str
    verdict: Verdict
    reason: str


def comparisons(
    now: Entry, baseline: Baseline | None, tolerances: Tolerances, accepted: StoredChanges | None
) -> Iterator[InTurn | Comparison | Uncompared]:
    """The comparison of each gated metric of an entry.

    Args:
        accepted: the stored runs of this code and of a base, which show the accepted losses.
    """
    before = fit(now, baseline, tolerances)
    gated = {name: tolerances.of(name, now) for name in now.metrics}
    gated = {name: tolerance for name, tolerance in gated.items() if tolerance is not None}
    tolerance = gated.get(LATENCY_CHANGE.name)
    if tolerance is not None:  # what ran in turn with its base needs no stored run
        gated = {name: gated[name] for name in gated if not depends(name, "processor")}
    if isinstance(before, Unfit):
        yield from (Uncompared(name, *before) for name in gated)
    else:
        yield from _comparisons_with(before, now, gated, tolerances, accepted)
    if tolerance is not None:
        name = LATENCY_CHANGE.name
        yield InTurn(name, now.metrics[name], tolerance, rule_in_turn(tolerance))


def _comparisons_with(
    before: Fit,
    now: Entry,
    gated: Collection[str],
    tolerances: Tolerances,
    accepted: StoredChanges | None,
) -> Iterator[Comparison | Uncompared]:
    rules = {rule.metric: rule for rule in stored_rules(before)}
    for name in gated:
        metric, stored = now.metrics[name], before.entry.metrics.get(name)
        tolerance = before.tolerances.get(name)
        if stored is None:
            yield Uncompared(name, "new", f"{before.file} has {now.name} without it")
        elif tolerance is not None:
            yield Comparison(
                name,
                metric,
                stored,
                tolerance,
                before.entry.file,
                before.origin,
                accepted=accepted.loss(now, name, stored, tolerance) if accepted else 0.0,
                images=image_test(name, now, before.entry, tolerances),
                rule=rules.get(name) if metric.samples else None,
            )
    in_turn = LATENCY_CHANGE.name in now.metrics
    for name in before.tolerances:
        excused = name in now.unmeasured or (in_turn and depends(name, "processor"))
        if name not in now.metrics and not excused:
            reason = f"{before.file} has it, and this run did not measure it"
            yield Uncompared(name, "missing", reason)
