"""Exact intervals for a shift, from few samples and without assuming how they are distributed.

Processes are the samples: what a process does once, such as where its memory lies, moves all its
times together, and no number of rounds averages it away.
"""

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]


def of_changes(changes: Sequence[float], level: float) -> Interval:
    """Where the centre of symmetrically distributed changes lies.

    Args:
        changes: at least one.
        level: the most that either bound may err; what can be had where the changes are too few.

    The interval that belongs to Wilcoxon's signed-rank test, made of the means of all pairs of
    changes (Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 2014, 3.2 and 3.3).
    """
    count = len(changes)
    means = sorted((one + other) / 2 for one, other in combinations_with_replacement(changes, 2))
    left_out = how_many_left_out(signed_rank_distribution(count), level)
    return means[left_out], means[-1 - left_out]


def of_shift(now: Sequence[float], before: Sequence[float], level: float) -> Interval:
    """By how much the samples of now lie above those of before.

    The interval that belongs to the rank-sum test of Wilcoxon, Mann and Whitney, made of the
    differences of all pairs (the same book, 4.2 and 4.3).

    Args:
        level: the most that either bound may err; what can be had where samples are too few.
    """
    differences = sorted(one - other for one in now for other in before)
    left_out = how_many_left_out(rank_sum_distribution(len(now), len(before)), level)
    return differences[left_out], differences[-1 - left_out]


def estimate(changes: Sequence[float]) -> float:
    """The median of the means of all pairs (Hodges and Lehmann, 1963)."""
    means = [(one + other) / 2 for one, other in combinations_with_replacement(changes, 2)]
    return float(np.median(means))


def how_many_left_out(distribution: NDArray[np.float64], level: float) -> int:
    """How many of the sorted pairs lie beyond a bound that errs with ``level`` at most."""
    return max(0, int(np.searchsorted(np.cumsum(distribution), level, side="right")) - 1)


@cache
def signed_rank_distribution(count: int) -> NDArray[np.float64]:
    """Probabilities of the sums of the ranks 1 to ``count`` that a fair coin picks."""
    ways = np.ones(1)
    for rank in range(1, count + 1):
        ways = np.convolve(ways, np.concatenate(([0.5], np.zeros(rank - 1), [0.5])))
    return ways


@cache
def rank_sum_distribution(now: int, before: int) -> NDArray[np.float64]:
    """Probabilities of how many of all pairs have the sample of now above that of before.

    The counts obey the recurrence of Mann and Whitney (1947): the largest sample of all is one of
    now's, above everything of before's, or one of before's.
    """
    if now == 0 or before == 0:
        return np.ones(1)
    ways = np.zeros(now * before + 1)
    with_ours = rank_sum_distribution(now - 1, before)
    ways[before : before + len(with_ours)] += now / (now + before) * with_ours
    with_theirs = rank_sum_distribution(now, before - 1)
    ways[: len(with_theirs)] += before / (now + before) * with_theirs
    return ways
