"""A group sequential test of latencies: the number of fresh processes, and the conclusion.

Every case gets a few processes. Inconclusive cases get more, up to a bound. A case that looks
slower or faster is measured again in new processes, and has changed only if these alone show it
too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from qmodels.gate.intervals import Interval
from qmodels.gate.latency import Case, Process, Timings

# Times of each case in fresh processes that run these cases. Cases that fail are absent.
Draw = Callable[[Sequence[Case]], Mapping[Case, Process]]
# An interval for a change, a logarithm, from samples and the one-sided error of its bounds.
Bound = Callable[[Sequence[float], float], Interval]
Answer = Literal["slower", "faster", "same", "inconclusive"]


@dataclass(frozen=True)
class Stage:
    """A stage of the test: samples at first and at most, and the one-sided error of a bound."""

    first: int
    most: int
    alpha: float


SCREEN = Stage(first=4, most=24, alpha=1 / 16)
CONFIRM = Stage(first=5, most=24, alpha=1 / 32)
# A run to store takes so many, because its error enters every later comparison.
STORED_PROCESSES = 12
# Samples are drawn until a slowdown of so many tolerances is excluded.
_DETECTABLE_RATIO = 2.0


@dataclass(frozen=True)
class Rule:
    """The rule that judges a ratio: to stop measuring, and to conclude.

    Attributes:
        metric: the name of the ratio whose samples are judged.
        bound: gives an interval for its change.
        tolerance: by how much it may change, a logarithm.
    """

    metric: str
    bound: Bound
    tolerance: float

    def answer(self, samples: Sequence[float], alpha: float) -> Answer:
        """Judge the change that samples show.

        Args:
            alpha: the one-sided error of each bound of their interval.
        """
        interval = self.bound(samples, alpha)
        if interval.low > self.tolerance:
            return "slower"
        if interval.high < -self.tolerance:
            return "faster"
        if interval.high > _DETECTABLE_RATIO * self.tolerance:
            return "inconclusive"
        return "same"

    def conclude(self, screened: Sequence[float], confirmed: Sequence[float]) -> Answer:
        """The conclusion of all samples of a case: a change only where both stages show it.

        It is inconclusive if either stage was when it ran out of samples.
        """
        first = self.answer(screened, SCREEN.alpha)
        if first in ("same", "inconclusive") or not confirmed:
            return first
        second = self.answer(confirmed, CONFIRM.alpha)
        return second if second in (first, "inconclusive") else "same"


def run(
    cases: Sequence[Case],
    draw: Draw,
    rules: Mapping[Case, Sequence[Rule]],
    *,
    to_store: bool = False,
) -> dict[Case, Timings]:
    """Draw as many processes as each case takes.

    Args:
        rules: of each case; none for a case that is only measured.
        to_store: whether to draw a fixed number, and judge nothing.

    Returns:
        Times of the cases that never failed.
    """
    screen = SCREEN
    if to_store:
        screen, rules = replace(SCREEN, first=STORED_PROCESSES, most=STORED_PROCESSES), {}

    def answers(case: Case, processes: Sequence[Process], alpha: float) -> set[Answer]:
        # A stored entry may have samples of metrics that are no ratios of these times.
        return {
            rule.answer([process.log_ratios[rule.metric] for process in processes], alpha)
            for rule in rules.get(case, ())
            if rule.metric in processes[0].log_ratios
        }

    def draw_stage(subset: Sequence[Case], planned: Stage) -> dict[Case, list[Process]]:
        drawn: dict[Case, list[Process]] = {case: [] for case in subset}
        wanted = list(subset)
        count = 0
        while wanted and count < planned.most:
            processes = draw(wanted)
            for case in wanted:
                if case in processes:
                    drawn[case].append(processes[case])
                else:
                    del drawn[case]
            count += 1
            wanted = [
                case
                for case in wanted
                if case in drawn
                and (
                    count < planned.first
                    or "inconclusive" in answers(case, drawn[case], planned.alpha)
                )
            ]
        return drawn

    screened = draw_stage(cases, screen)
    suspects = [
        case
        for case, processes in screened.items()
        if answers(case, processes, screen.alpha) & {"slower", "faster"}
    ]
    confirmed = draw_stage(suspects, CONFIRM)
    return {
        case: Timings(tuple(processes), tuple(confirmed.get(case, ())))
        for case, processes in screened.items()
        if case in confirmed or case not in suspects
    }
