"""Rules that separate slower code from noise: the gate's own, and pytest-benchmark's."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from docs.study.record import Row
from qmodels.gate import sequential
from qmodels.gate.latency import Case, Process
from qmodels.gate.rules import rule_against, rule_in_turn
from qmodels.gate.sequential import Answer, Rule
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metrics import LATENCY_CHANGE, LATENCY_RATIO, PROBE_RATIO
from qmodels.system.defaults import REFERENCE
from qmodels.variants import all_variants

BENCHMARK_TOLERANCE = 0.05  # median:5% and mean:5%

Pair = Mapping[Case, Row]


@dataclass(frozen=True)
class Outcome:
    """A rule's answer for some cases.

    Attributes:
        slower: cases that it calls slower.
        undecided: cases that it leaves open.
        pairs: how many pairs of processes it took.
    """

    slower: frozenset[Case]
    undecided: frozenset[Case]
    pairs: int


# A rule, given some cases and the pairs to draw from, in their order.
Trial = Callable[[Sequence[Case], Sequence[Pair]], Outcome]


class Exhausted(Exception):
    """A rule asked for more pairs than were recorded."""


def arithmetic(variant: str) -> str:
    """What a variant multiplies in; float32 for one that no longer exists."""
    known = all_variants().get(variant)
    return known.arithmetic if known else "float32"


def beside(tolerances: Tolerances) -> Trial:
    """The gate's rule for processes that take turns."""

    def trial(cases: Sequence[Case], pairs: Sequence[Pair]) -> Outcome:
        by_case = {}
        for case in cases:
            name = LATENCY_CHANGE.name
            tolerance = tolerances.tolerance(name, case[0], arithmetic(case[0]))
            if tolerance is not None:
                by_case[case] = rule_in_turn(tolerance)
        return concluded(cases, pairs, by_case, lambda row, pair: row.change)

    return trial


def stored(tolerances: Tolerances, before: Sequence[Pair]) -> Trial:
    """The gate's rule for a stored run of this host: ratios of other processes.

    Args:
        before: pairs of unchanged code, whose bases are the stored run.
    """

    def trial(cases: Sequence[Case], pairs: Sequence[Pair]) -> Outcome:
        by_case = {}
        for case in cases:
            name = (PROBE_RATIO if case[0] == REFERENCE else LATENCY_RATIO).name
            tolerance = tolerances.tolerance(name, case[0], arithmetic(case[0]))
            if tolerance is not None:
                samples = tuple(base_ratio(pair[case]) for pair in before)
                by_case[case] = rule_against(name, samples, tolerance)
        return concluded(cases, pairs, by_case, head_ratio)

    return trial


def base_ratio(row: Row) -> float:
    """The log ratio that a stored run has of a case."""
    return row.base_x_probe if row.variant == REFERENCE else row.base_x_fp32


def head_ratio(row: Row, pair: Pair) -> float:
    """Head's log ratio, with fp32's own slowdown undone: work was added to fp32 too."""
    if row.variant == REFERENCE:
        return row.head_x_probe
    return row.head_x_fp32 + (pair[REFERENCE, row.batch_size].change if row.planted else 0.0)


def concluded(
    cases: Sequence[Case],
    pairs: Sequence[Pair],
    rules: Mapping[Case, Rule],
    sample: Callable[[Row, Pair], float],
) -> Outcome:
    """The outcome of the gate's own code for pairs drawn one after another.

    Raises:
        Exhausted: there are too few pairs.
    """
    remaining = iter(pairs)
    taken = 0

    def draw(wanted: Sequence[Case]) -> dict[Case, Process]:
        nonlocal taken
        pair = next(remaining, None)
        if pair is None:
            raise Exhausted
        taken += 1
        ratios = {case: sample(pair[case], pair) for case in wanted}
        return {
            case: Process((), {rules[case].metric: ratio} if case in rules else {})
            for case, ratio in ratios.items()
        }

    drawn = sequential.run(cases, draw, {case: [rule] for case, rule in rules.items()})
    answers = {
        case: rule.conclude(*drawn[case].samples(rule.metric)) for case, rule in rules.items()
    }

    def cases_with(wanted: Answer) -> frozenset[Case]:
        return frozenset(case for case, answer in answers.items() if answer == wanted)

    return Outcome(cases_with("slower"), cases_with("inconclusive"), taken)


def alone(statistic: str, unchanged: Sequence[Pair]) -> Trial:
    """pytest-benchmark's rule: one process compared with one of another time, by one statistic."""
    generator = random.Random(statistic)

    def trial(cases: Sequence[Case], pairs: Sequence[Pair]) -> Outcome:
        now = pairs[0]
        before = generator.choice([pair for pair in unchanged if pair is not now])
        slower = frozenset(
            case
            for case in cases
            if getattr(now[case], f"head_{statistic}")
            > (1 + BENCHMARK_TOLERANCE) * getattr(before[case], f"base_{statistic}")
        )
        return Outcome(slower, frozenset(), 1)

    return trial
