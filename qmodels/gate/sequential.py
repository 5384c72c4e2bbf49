"""How many fresh processes a latency gets, and the verdict on their samples.

Every case gets a few processes. Inconclusive cases get more, up to a bound. A case that looks
slower is measured again in new processes, and has regressed only if these alone show it too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from qmodels.gate.intervals import Interval

Case = tuple[str, int]  # variant and batch size
# One sample of each case, from fresh processes that run these cases.
Draw = Callable[[Sequence[Case]], Mapping[Case, float]]
# An interval for a change, a logarithm, from samples and the one-sided error of its bounds.
Bound = Callable[[Sequence[float], float], Interval]
Answer = Literal["slower", "faster", "same", "inconclusive"]


@dataclass(frozen=True)
class Stage:
    """How many samples at first, how many at most, and the one-sided error of a bound."""

    first: int
    most: int
    alpha: float


SCREEN = Stage(first=4, most=24, alpha=1 / 16)
CONFIRM = Stage(first=5, most=24, alpha=1 / 32)
# Samples are drawn until a slowdown of so many tolerances is excluded.
DETECTABLE_RATIO = 2.0


@dataclass(frozen=True)
class Samples:
    """What was drawn for a case, to screen and, where that found a change, to confirm it."""

    screened: tuple[float, ...]
    confirmed: tuple[float, ...] = ()


def answer(interval: Interval, tolerance: float) -> Answer:
    """What an interval says of a change."""
    if interval.low > tolerance:
        return "slower"
    if interval.high < -tolerance:
        return "faster"
    if interval.high > DETECTABLE_RATIO * tolerance:
        return "inconclusive"
    return "same"


def conclude(samples: Samples, bound: Bound, tolerance: float) -> Answer:
    """What all samples of a case say: a change only where both stages find it.

    It is inconclusive if either stage was when it ran out of samples.
    """
    screened = answer(bound(samples.screened, SCREEN.alpha), tolerance)
    if screened in ("same", "inconclusive") or not samples.confirmed:
        return screened
    confirmed = answer(bound(samples.confirmed, CONFIRM.alpha), tolerance)
    return confirmed if confirmed in (screened, "inconclusive") else "same"


@dataclass(frozen=True)
class Rule:
    """How a case is judged: by which interval, and by how much it may change, as a logarithm."""

    bound: Bound
    tolerance: float

    def answer(self, samples: Sequence[float], alpha: float) -> Answer:
        """What samples say of the change."""
        return answer(self.bound(samples, alpha), self.tolerance)


def run(cases: Sequence[Case], draw: Draw, rules: Mapping[Case, Rule]) -> dict[Case, Samples]:
    """Draw as many samples of each case as it takes.

    Args:
        draw: one sample of each of the cases it is given, from fresh processes.
        rules: of each case; none for a case that is only measured.
    """

    def draw_stage(subset: Sequence[Case], planned: Stage) -> dict[Case, list[float]]:
        drawn: dict[Case, list[float]] = {case: [] for case in subset}
        inconclusive = list(subset)
        count = 0
        while inconclusive and count < planned.most:
            for case, sample in draw(inconclusive).items():
                drawn[case].append(sample)
            count += 1
            if count >= planned.first:
                inconclusive = [
                    case
                    for case in inconclusive
                    if case in rules
                    and rules[case].answer(drawn[case], planned.alpha) == "inconclusive"
                ]
        return drawn

    screened = draw_stage(cases, SCREEN)
    suspects = [
        case
        for case in cases
        if case in rules
        and rules[case].answer(screened[case], SCREEN.alpha) in ("slower", "faster")
    ]
    confirmed = draw_stage(suspects, CONFIRM)
    return {case: Samples(tuple(screened[case]), tuple(confirmed.get(case, ()))) for case in cases}
