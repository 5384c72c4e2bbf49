"""Accuracy image by image: which ones a run got wrong that its baseline got right.

A run's top-1 accuracy alone says little: of 10,000 images, a tenth of a point is ten. But an
unchanged model on an unchanged machine gets the same images right, so that ten lost ones and none
won are no accident. Kept for each image is the rank of the right class, how many others the model
put before it: 0 is right by top-1, below 5 by top-5.

They are kept in the order of the test split, which is identified by its labels. Two machines may
decode an image differently in its last bit. So its content is no part of that.
"""

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qmodels.measure.metrics import TOP1, TOP5_ERROR

# The rank of an image that was not evaluated, and of all ranks that one byte can't hold.
NOT_EVALUATED, _LAST = 255, 254
# A metric to the first rank that counts as wrong by it.
WRONG_FROM = {TOP1.name: 1, TOP5_ERROR.name: 5}


@dataclass(frozen=True)
class Ranks:
    """Ranks of the right classes of a test split.

    Attributes:
        images: digest of the labels of all N images.
        values: (N,) uint8.
    """

    images: str
    values: NDArray[np.uint8] = field(metadata={"key": "packed"})


@dataclass(frozen=True)
class Flips:
    """Images that two runs both evaluated: how many of them the later lost, and won."""

    images: int
    lost: int
    won: int

    def __str__(self) -> str:
        return (
            f"{self.lost} images lost and {self.won} won of {self.images}, p = {self.p_value:.2g}"
        )

    @property
    def loss(self) -> float:
        """Percentage points of accuracy lost."""
        return 100 * (self.lost - self.won) / self.images

    @property
    def reverse(self) -> "Flips":
        """The flips from the later run to the earlier one."""
        return Flips(self.images, self.won, self.lost)

    @property
    def p_value(self) -> float:
        """One-sided exact McNemar p-value: of a loss of as many images or more, by chance.

        McNemar, "Note on the sampling error of the difference between correlated proportions or
        percentages", 1947, by the binomial distribution.
        """
        flips = self.lost + self.won
        if not flips:
            return 1.0
        from scipy.stats import binomtest  # it takes long to import, and few runs need it

        return float(binomtest(self.lost, flips, alternative="greater").pvalue)


def collect(
    labels: NDArray[np.int64], evaluated: NDArray[np.int64], ranks: NDArray[np.int64]
) -> Ranks:
    """Ranks as they are kept.

    Args:
        labels: of all test images, (N,).
        evaluated: positions of the images that were evaluated, (M,).
        ranks: of the right classes of these, (M,).
    """
    values = np.full(len(labels), NOT_EVALUATED, np.uint8)
    values[evaluated] = np.minimum(ranks, _LAST)
    return Ranks(labels_digest(labels), values)


def labels_digest(labels: NDArray[np.int64]) -> str:
    """Digest of the labels of a test split, (N,)."""
    return hashlib.blake2b(labels.astype("<i8").tobytes(), digest_size=8).hexdigest()


def flips(now: Ranks, before: Ranks, metric: str) -> Flips:
    """The images that both evaluated, and on how many of them they differ by a metric."""
    if len(now.values) != len(before.values):  # of another split, whatever its digest says
        return Flips(0, 0, 0)
    both = (now.values != NOT_EVALUATED) & (before.values != NOT_EVALUATED)
    wrong = now.values[both] >= WRONG_FROM[metric]
    was_wrong = before.values[both] >= WRONG_FROM[metric]
    return Flips(int(both.sum()), int((wrong & ~was_wrong).sum()), int((was_wrong & ~wrong).sum()))


def least_visible(images: int, alpha: float) -> float:
    """The least loss, in points, that the exact test can see on so many images: nothing is won."""
    return 100 * max(1, math.ceil(math.log2(1 / alpha))) / images
