from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from qmodels.gate import intervals, sequential
from qmodels.gate.latency import Case, Process, Timings
from qmodels.gate.sequential import CONFIRM, SCREEN, STORED_PROCESSES, Draw, Rule

RULE = Rule("change", intervals.signed_rank_interval, 0.015)
CASES: list[Case] = [("fp32", 1), ("static-int8", 1)]


def process(change: float) -> Process:
    return Process((), {RULE.metric: change})


def drawing(sample: Callable[[Case, int], float | None], asked: list[list[Case]]) -> Draw:
    """Samples by case and number of the draw, and which cases each draw was for.

    Args:
        sample: None for a case that fails.
    """

    def draw(wanted: Sequence[Case]) -> Mapping[Case, Process]:
        asked.append(list(wanted))
        samples = {case: sample(case, len(asked)) for case in wanted}
        return {case: process(change) for case, change in samples.items() if change is not None}

    return draw


def run(cases: Sequence[Case], draw: Draw) -> dict[Case, Timings]:
    return sequential.run(cases, draw, {case: [RULE] for case in cases})


def verdict(drawn: Timings) -> str:
    return RULE.conclude(*drawn.samples(RULE.metric))


def verdicts(drawn: Mapping[Case, Timings]) -> list[str]:
    return [verdict(drawn[case]) for case in CASES]


def test_nothing_more_is_spent_where_the_answer_is_clear() -> None:
    asked: list[list[Case]] = []
    drawn = run(CASES, drawing(lambda case, at: 0.001, asked))
    assert asked == [CASES] * SCREEN.first
    assert verdicts(drawn) == ["same", "same"]


def test_a_slowdown_is_found_twice_and_only_its_case_is_measured_again() -> None:
    asked: list[list[Case]] = []
    slow = CASES[1]
    drawn = run(CASES, drawing(lambda case, at: 0.05 if case == slow else 0.0, asked))
    assert asked == [CASES] * SCREEN.first + [[slow]] * CONFIRM.first
    assert verdicts(drawn) == ["same", "slower"]


def test_what_fresh_processes_do_not_find_again_is_no_slowdown() -> None:
    asked: list[list[Case]] = []
    drawn = run(CASES, drawing(lambda case, at: 0.05 if at <= SCREEN.first else 0.0, asked))
    assert len(asked) > SCREEN.first
    assert verdicts(drawn) == ["same", "same"]


def test_doubt_is_worth_more_processes_up_to_a_bound() -> None:
    asked: list[list[Case]] = []
    doubtful = CASES[0]
    drawn = run(
        CASES,
        drawing(
            lambda case, at: (0.3 if at % 3 == 0 else -0.02) if case == doubtful else 0.0, asked
        ),
    )
    assert asked == [CASES] * SCREEN.first + [[doubtful]] * (SCREEN.most - SCREEN.first)
    assert verdicts(drawn) == ["inconclusive", "same"]


def test_a_suspicion_that_stays_in_doubt_is_inconclusive() -> None:
    asked: list[list[Case]] = []

    def sample(case: Case, at: int) -> float:
        return 0.05 if at <= SCREEN.first else (0.3 if at % 3 == 0 else -0.02)

    drawn = run(CASES[:1], drawing(sample, asked))
    assert len(asked) == SCREEN.first + CONFIRM.most
    assert verdict(drawn[CASES[0]]) == "inconclusive"


def test_cases_without_a_rule_are_measured_and_not_judged() -> None:
    asked: list[list[Case]] = []
    drawn = sequential.run(CASES, drawing(lambda case, at: 1.0, asked), {})
    assert asked == [CASES] * SCREEN.first
    assert len(drawn[CASES[0]].screened) == SCREEN.first


def test_a_run_to_store_has_a_fixed_number_of_processes() -> None:
    asked: list[list[Case]] = []
    drawn = sequential.run(
        CASES, drawing(lambda case, at: 1.0, asked), {case: [RULE] for case in CASES}, to_store=True
    )
    assert asked == [CASES] * STORED_PROCESSES
    assert len(drawn[CASES[0]].screened) == STORED_PROCESSES


def test_a_case_is_judged_by_each_of_its_rules() -> None:
    asked: list[list[Case]] = []
    other, unknown = replace(RULE, metric="other"), replace(RULE, metric="unknown")

    def draw(wanted: Sequence[Case]) -> dict[Case, Process]:
        asked.append(list(wanted))
        return {case: Process((), {RULE.metric: 0.0, other.metric: 0.05}) for case in wanted}

    rules = {CASES[0]: [RULE, unknown], CASES[1]: [RULE, other]}
    drawn = sequential.run(CASES, draw, rules)
    assert asked == [CASES] * SCREEN.first + [CASES[1:]] * CONFIRM.first
    assert verdicts(drawn) == ["same", "same"]
    assert other.conclude(*drawn[CASES[1]].samples(other.metric)) == "slower"


@pytest.mark.parametrize("attempt", [1, SCREEN.first, SCREEN.first + 2])
def test_a_case_that_fails_is_not_drawn_again(attempt: int) -> None:
    asked: list[list[Case]] = []
    failing = CASES[1]
    drawn = run(
        CASES, drawing(lambda case, at: None if case == failing and at == attempt else 0.05, asked)
    )
    assert asked[attempt:] == [CASES[:1]] * (SCREEN.first + CONFIRM.first - attempt)
    assert list(drawn) == CASES[:1]


def test_an_improvement_is_seen_too() -> None:
    drawn = run(CASES, drawing(lambda case, at: -0.1, []))
    assert verdicts(drawn) == ["faster", "faster"]


def noise(seed: int, spread: float, shift: float) -> Iterator[float]:
    generator = np.random.default_rng(seed)
    while True:
        yield float(generator.standard_t(3) * spread + shift)


def drawing_from(source: Iterator[float]) -> Draw:
    return lambda cases: {case: process(next(source)) for case in cases}


def test_error_rates_on_heavy_tailed_noise() -> None:
    """Twelve cases of unchanged code, and one of five percent, two percent of noise a process."""
    cases: list[Case] = [(f"variant {index}", 1) for index in range(12)]
    false, missed = 0, 0
    for seed in range(100):
        source = noise(seed, 0.015, 0.0)
        drawn = run(cases, drawing_from(source))
        false += any(verdict(timings) == "slower" for timings in drawn.values())
        slowed = noise(1000 + seed, 0.015, 0.05)
        drawn = run(cases[:1], drawing_from(slowed))
        missed += verdict(drawn[cases[0]]) != "slower"
    assert false <= 1
    assert missed <= 5
