import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, wilcoxon

from qmodels.gate import intervals
from qmodels.gate.intervals import Interval

samples = st.lists(
    st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=9, unique=True
).map(tuple)


def test_of_five_changes_each_end_is_the_interval_at_one_in_thirty_two() -> None:
    interval = intervals.signed_rank_interval([3.0, 1.0, 5.0, 2.0, 4.0], 1 / 32)
    assert interval == Interval(1.0, 5.0, level=15 / 16)
    wider_error = intervals.signed_rank_interval([3.0, 1.0, 5.0, 2.0, 4.0], 1 / 8)
    assert 1.0 < wider_error.low < 3.0 < wider_error.high < 5.0


@given(changes=samples, alpha=st.sampled_from([0.01, 1 / 16, 0.2]))
def test_a_bound_is_beyond_zero_exactly_where_the_signed_rank_test_says_so(
    changes: tuple[float, ...], alpha: float
) -> None:
    low = intervals.signed_rank_interval(changes, alpha).low
    if 0.0 in changes or len({abs(change) for change in changes}) < len(changes):
        return  # ties: scipy's exact test is another
    p_value = wilcoxon(changes, alternative="greater", method="exact").pvalue
    attainable = 0.5 ** len(changes) <= alpha
    assert (low > 0) == (p_value <= alpha + 1e-12) or not attainable


@given(now=samples, before=samples, alpha=st.sampled_from([0.01, 1 / 16, 0.2]))
def test_a_bound_is_beyond_zero_exactly_where_the_rank_sum_test_says_so(
    now: tuple[float, ...], before: tuple[float, ...], alpha: float
) -> None:
    if set(now) & set(before):
        return
    low = intervals.rank_sum_interval(now, before, alpha).low
    p_value = mannwhitneyu(now, before, alternative="greater", method="exact").pvalue
    smallest = 1 / intervals.rank_sum_distribution(len(now), len(before))[0]
    assert (low > 0) == (p_value <= alpha + 1e-12) or alpha < 1 / smallest


@given(changes=samples, alpha=st.sampled_from([0.01, 1 / 16, 0.2]))
def test_the_interval_holds_the_estimate_and_turns_with_the_sign(
    changes: tuple[float, ...], alpha: float
) -> None:
    interval = intervals.signed_rank_interval(changes, alpha)
    assert interval.low <= intervals.hodges_lehmann(changes) <= interval.high
    mirrored = intervals.signed_rank_interval([-change for change in changes], alpha)
    assert mirrored == Interval(-interval.high, -interval.low, interval.level)


def test_distributions_are_those_of_the_books() -> None:
    assert intervals.signed_rank_distribution(3) * 8 == pytest.approx([1, 1, 1, 2, 1, 1, 1])
    assert intervals.rank_sum_distribution(2, 2) * 6 == pytest.approx([1, 1, 2, 1, 1])


def test_bounds_err_about_as_often_as_they_may_on_skewed_noise() -> None:
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        before, now = generator.gamma(2.0, size=(2, 8))
        missed += intervals.rank_sum_interval(now + 1.0, before, 1 / 16).low > 1.0
    assert 0.02 < missed / 400 <= 0.09


def test_an_interval_says_the_level_that_its_samples_reach() -> None:
    """Of four, all lie on one side of their median in one case of eight."""
    four = [1.0, 2.0, 3.0, 4.0]
    assert intervals.sign_interval(four, 0.025) == Interval(1.0, 4.0, level=7 / 8)
    assert intervals.signed_rank_interval(four, 0.025) == Interval(1.0, 4.0, level=7 / 8)
    assert intervals.sign_interval(range(6), 0.025).level == pytest.approx(31 / 32)


@given(values=samples)
def test_an_interval_of_the_median_holds_it(values: tuple[float, ...]) -> None:
    interval = intervals.sign_interval(values, 0.025)
    assert interval.low <= np.median(values) <= interval.high
    assert {interval.low, interval.high} <= set(values)
