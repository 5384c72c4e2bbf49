"""Exact intervals from few samples, whatever their distribution, and the level that each reaches.

Processes are the samples: what a process does once, such as where its memory lies, moves all its
times together, and no number of rounds averages that away.

SciPy has the tests that these intervals invert, but no public function for the intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low, high: in the unit of the samples.
        level: the confidence that was reached. It is below the one that was asked for where the
            samples are too few: of four, all lie on one side of their median in one case of eight.
    """

    low: float
    high: float
    level: float


def signed_rank_interval(changes: Sequence[float], alpha: float) -> Interval:
    """Interval for the centre of symmetrically distributed changes.

    It inverts Wilcoxon's signed-rank test: its ends are means of pairs of changes (Hollander,
    Wolfe and Chicken, "Nonparametric Statistical Methods", 2014, 3.2 and 3.3).

    Args:
        alpha: the one-sided error of each bound; more where the changes are too few.
    """
    return _between(_walsh_averages(changes), signed_rank_distribution(len(changes)), alpha)


def rank_sum_interval(now: Sequence[float], before: Sequence[float], alpha: float) -> Interval:
    """Interval for the shift of the samples now against those before.

    It inverts the rank-sum test of Wilcoxon, Mann and Whitney: its ends are differences of pairs
    (the same book, 4.2 and 4.3).

    Args:
        alpha: the one-sided error of each bound; more where the samples are too few.
    """
    differences = [sample - other for sample in now for other in before]
    return _between(differences, rank_sum_distribution(len(now), len(before)), alpha)


def sign_interval(samples: Sequence[float], alpha: float) -> Interval:
    """Interval for the median, of any distribution.

    It inverts the sign test: its ends are samples (the same book, 3.4 and 3.6).

    Args:
        alpha: the one-sided error of each bound; more where the samples are too few.
    """
    return _between(samples, _sign_distribution(len(samples)), alpha)


def hodges_lehmann(changes: Sequence[float]) -> float:
    """The median of the means of all pairs of changes (Hodges and Lehmann, 1963)."""
    return float(np.median(_walsh_averages(changes)))


def _walsh_averages(changes: Sequence[float]) -> list[float]:
    """The means of all pairs of changes, each with itself too."""
    return [(a + b) / 2 for a, b in combinations_with_replacement(changes, 2)]


def _between(values: Sequence[float], distribution: NDArray[np.float64], alpha: float) -> Interval:
    """The interval between the values of two ranks, as far from either end.

    Args:
        values: in any order.
        distribution: probabilities of how many values lie below the true one.
    """
    ordered = sorted(values)
    rank = _critical_rank(distribution, alpha)
    level = max(0.0, 1 - 2 * float(distribution[: rank + 1].sum()))
    return Interval(ordered[rank], ordered[-1 - rank], level)


def _critical_rank(distribution: NDArray[np.float64], alpha: float) -> int:
    """The number of values beyond a bound that errs with probability ``alpha`` at most."""
    return max(0, int(np.searchsorted(np.cumsum(distribution), alpha, side="right")) - 1)


def _sign_distribution(count: int) -> NDArray[np.float64]:
    """Probabilities of how many of ``count`` samples lie below the median."""
    ways = np.ones(1)
    for _ in range(count):
        ways = np.convolve(ways, [0.5, 0.5])
    return ways


@cache
def signed_rank_distribution(count: int) -> NDArray[np.float64]:
    """Null distribution of Wilcoxon's W, the sum of the ranks of ``count`` changes above zero."""
    ways = np.ones(1)
    for rank in range(1, count + 1):
        ways = np.convolve(ways, np.concatenate(([0.5], np.zeros(rank - 1), [0.5])))
    return ways


@cache
def rank_sum_distribution(now: int, before: int) -> NDArray[np.float64]:
    """Null distribution of Mann and Whitney's U: in how many pairs the sample now is the larger.

    The counts obey the recurrence of Mann and Whitney (1947): the largest sample of all is one of
    now's, above everything of before's, or one of before's.
    """
    if now == 0 or before == 0:
        return np.ones(1)
    ways = np.zeros(now * before + 1)
    largest_is_now = rank_sum_distribution(now - 1, before)
    ways[before : before + len(largest_is_now)] += now / (now + before) * largest_is_now
    largest_is_before = rank_sum_distribution(now, before - 1)
    ways[: len(largest_is_before)] += before / (now + before) * largest_is_before
    return ways
