from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from qmodels.gate import intervals, sequential
from qmodels.gate.sequential import CONFIRM, SCREEN, Case, Draw, Rule, Samples

RULE = Rule(intervals.signed_rank_interval, 0.015)
CASES: list[Case] = [("fp32", 1), ("static-int8", 1)]


def drawing(
    sample: Callable[[Case, int], float], asked: list[list[Case]]
) -> Callable[[Sequence[Case]], Mapping[Case, float]]:
    """Samples by case and number of the draw, and which cases each draw was for."""

    def draw(wanted: Sequence[Case]) -> Mapping[Case, float]:
        asked.append(list(wanted))
        return {case: sample(case, len(asked)) for case in wanted}

    return draw


def verdicts(drawn: Mapping[Case, Samples]) -> list[str]:
    return [sequential.conclude(drawn[case], RULE.bound, RULE.tolerance) for case in CASES]


def test_nothing_more_is_spent_where_the_answer_is_clear() -> None:
    asked: list[list[Case]] = []
    drawn = sequential.run(
        CASES, drawing(lambda case, at: 0.001, asked), dict.fromkeys(CASES, RULE)
    )
    assert asked == [CASES] * SCREEN.first
    assert verdicts(drawn) == ["same", "same"]


def test_a_slowdown_is_found_twice_and_only_its_case_is_measured_again() -> None:
    asked: list[list[Case]] = []
    slow = CASES[1]
    drawn = sequential.run(
        CASES,
        drawing(lambda case, at: 0.05 if case == slow else 0.0, asked),
        dict.fromkeys(CASES, RULE),
    )
    assert asked == [CASES] * SCREEN.first + [[slow]] * CONFIRM.first
    assert verdicts(drawn) == ["same", "slower"]


def test_what_fresh_processes_do_not_find_again_is_no_slowdown() -> None:
    asked: list[list[Case]] = []
    drawn = sequential.run(
        CASES,
        drawing(lambda case, at: 0.05 if at <= SCREEN.first else 0.0, asked),
        dict.fromkeys(CASES, RULE),
    )
    assert len(asked) > SCREEN.first
    assert verdicts(drawn) == ["same", "same"]


def test_doubt_is_worth_more_processes_up_to_a_bound() -> None:
    asked: list[list[Case]] = []
    doubtful = CASES[0]
    drawn = sequential.run(
        CASES,
        drawing(
            lambda case, at: (0.3 if at % 3 == 0 else -0.02) if case == doubtful else 0.0, asked
        ),
        dict.fromkeys(CASES, RULE),
    )
    assert asked == [CASES] * SCREEN.first + [[doubtful]] * (SCREEN.most - SCREEN.first)
    assert verdicts(drawn) == ["inconclusive", "same"]


def test_a_suspicion_that_stays_in_doubt_is_inconclusive() -> None:
    asked: list[list[Case]] = []

    def sample(case: Case, at: int) -> float:
        return 0.05 if at <= SCREEN.first else (0.3 if at % 3 == 0 else -0.02)

    drawn = sequential.run(CASES[:1], drawing(sample, asked), {CASES[0]: RULE})
    assert len(asked) == SCREEN.first + CONFIRM.most
    assert sequential.conclude(drawn[CASES[0]], RULE.bound, RULE.tolerance) == "inconclusive"


def test_cases_without_a_rule_are_measured_and_not_judged() -> None:
    asked: list[list[Case]] = []
    drawn = sequential.run(CASES, drawing(lambda case, at: 1.0, asked), {})
    assert asked == [CASES] * SCREEN.first
    assert len(drawn[CASES[0]].screened) == SCREEN.first


def test_an_improvement_is_seen_too() -> None:
    drawn = sequential.run(CASES, drawing(lambda case, at: -0.1, []), dict.fromkeys(CASES, RULE))
    assert verdicts(drawn) == ["faster", "faster"]


def noise(seed: int, spread: float, shift: float) -> Iterator[float]:
    generator = np.random.default_rng(seed)
    while True:
        yield float(generator.standard_t(3) * spread + shift)


def drawing_from(source: Iterator[float]) -> Draw:
    return lambda cases: {case: next(source) for case in cases}


def test_error_rates_on_heavy_tailed_noise() -> None:
    """Twelve cases of unchanged code, and one of five percent, two percent of noise a process."""
    cases: list[Case] = [(f"variant {index}", 1) for index in range(12)]
    false, missed = 0, 0
    for seed in range(100):
        source = noise(seed, 0.015, 0.0)
        drawn = sequential.run(cases, drawing_from(source), dict.fromkeys(cases, RULE))
        false += any(
            sequential.conclude(samples, RULE.bound, RULE.tolerance) == "slower"
            for samples in drawn.values()
        )
        slowed = noise(1000 + seed, 0.015, 0.05)
        drawn = sequential.run(cases[:1], drawing_from(slowed), {cases[0]: RULE})
        missed += sequential.conclude(drawn[cases[0]], RULE.bound, RULE.tolerance) != "slower"
    assert false <= 1
    assert missed <= 5
