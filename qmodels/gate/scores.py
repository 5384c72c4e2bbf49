"""Accuracy image by image, of a network whose owner gives a score for each image.

As for ranks, images are kept in the order of the test split.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qmodels.gate.ranks import Flips
from qmodels.measure.paired import mean_interval


@dataclass(frozen=True)
class Scores:
    """Scores of a test split.

    Attributes:
        images: digest of the split.
        values: (N,) float32; NaN of an image that was not evaluated.
    """

    images: str
    values: NDArray[np.float32] = field(metadata={"key": "scores"})


@dataclass(frozen=True, eq=False)
class Differences:
    """Losses of the images that both runs scored.

    Attributes:
        losses: the score before less the score now, (N,) float64.
    """

    losses: NDArray[np.float64]

    def __str__(self) -> str:
        low, high = mean_interval(self.losses)
        return (
            f"{self.lost} images worse and {self.won} better of {self.images}, mean loss "
            f"{low:.3g} to {high:.3g}, p = {self.p_value:.2g}"
        )

    @property
    def images(self) -> int:
        """The number of images that both runs scored."""
        return len(self.losses)

    @property
    def lost(self) -> int:
        """The number of images with a lower score."""
        return int((self.losses > 0).sum())

    @property
    def won(self) -> int:
        """The number of images with a higher score."""
        return int((self.losses < 0).sum())

    @property
    def loss(self) -> float:
        """The decrease of the mean score."""
        return float(self.losses.mean())

    @property
    def reverse(self) -> "Differences":
        """The differences from the later run to the earlier one."""
        return Differences(-self.losses)

    @cached_property
    def p_value(self) -> float:
        """One-sided p-value of a loss by chance: of the signed-rank test (Wilcoxon, 1945).

        Of scores that are all 0 or 1, of the exact McNemar test, as for ``Flips``.
        """
        changed = self.losses[self.losses != 0]
        if not len(changed):
            return 1.0
        if np.isin(changed, (-1, 1)).all():
            return Flips(len(self.losses), self.lost, self.won).p_value
        from scipy.stats import wilcoxon  # it takes long to import, and few runs need it

        return float(wilcoxon(changed, alternative="greater").pvalue)


def collect(
    images: str, count: int, evaluated: NDArray[np.int64], scores: NDArray[np.float64]
) -> Scores:
    """Scores as they are kept.

    Args:
        images: digest of the test split.
        count: of all its images, N.
        evaluated: positions of the images that were evaluated, (M,).
        scores: of these, (M,).
    """
    values = np.full(count, np.nan, np.float32)
    values[evaluated] = scores
    return Scores(images, values)


def differences(now: Scores, before: Scores) -> Differences:
    """Losses of the images that both runs scored."""
    if len(now.values) != len(before.values):  # of another split, whatever its digest says
        return Differences(np.zeros(0))
    losses = before.values.astype(np.float64) - now.values
    return Differences(losses[~np.isnan(losses)])
