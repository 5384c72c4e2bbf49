import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, wilcoxon

from qmodels.gate import intervals

samples = st.lists(
    st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=9, unique=True
).map(tuple)


def test_of_five_changes_each_end_is_the_interval_at_one_in_thirty_two() -> None:
    assert intervals.of_changes([3.0, 1.0, 5.0, 2.0, 4.0], 1 / 32) == (1.0, 5.0)
    low, high = intervals.of_changes([3.0, 1.0, 5.0, 2.0, 4.0], 1 / 8)
    assert 1.0 < low < 3.0 < high < 5.0


@given(changes=samples, level=st.sampled_from([0.01, 1 / 16, 0.2]))
def test_a_bound_is_beyond_zero_exactly_where_the_signed_rank_test_says_so(
    changes: tuple[float, ...], level: float
) -> None:
    low, _ = intervals.of_changes(changes, level)
    if 0.0 in changes or len({abs(one) for one in changes}) < len(changes):
        return  # ties: scipy's exact test is another
    error = wilcoxon(changes, alternative="greater", method="exact").pvalue
    attainable = 0.5 ** len(changes) <= level
    assert (low > 0) == (error <= level + 1e-12) or not attainable


@given(now=samples, before=samples, level=st.sampled_from([0.01, 1 / 16, 0.2]))
def test_a_bound_is_beyond_zero_exactly_where_the_rank_sum_test_says_so(
    now: tuple[float, ...], before: tuple[float, ...], level: float
) -> None:
    if set(now) & set(before):
        return
    low, _ = intervals.of_shift(now, before, level)
    error = mannwhitneyu(now, before, alternative="greater", method="exact").pvalue
    smallest = 1 / intervals.rank_sum_distribution(len(now), len(before))[0]
    assert (low > 0) == (error <= level + 1e-12) or level < 1 / smallest


@given(changes=samples, level=st.sampled_from([0.01, 1 / 16, 0.2]))
def test_the_interval_holds_the_estimate_and_turns_with_the_sign(
    changes: tuple[float, ...], level: float
) -> None:
    low, high = intervals.of_changes(changes, level)
    assert low <= intervals.estimate(changes) <= high
    mirrored = intervals.of_changes([-one for one in changes], level)
    assert mirrored == (-high, -low)


def test_distributions_are_those_of_the_books() -> None:
    assert intervals.signed_rank_distribution(3) * 8 == pytest.approx([1, 1, 1, 2, 1, 1, 1])
    assert intervals.rank_sum_distribution(2, 2) * 6 == pytest.approx([1, 1, 2, 1, 1])


def test_bounds_err_about_as_often_as_they_may_on_skewed_noise() -> None:
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        before, now = generator.gamma(2.0, size=(2, 8))
        missed += intervals.of_shift(now + 1.0, before, 1 / 16)[0] > 1.0
    assert 0.02 < missed / 400 <= 0.09
