"""The confidence interval of the mean loss of images between two evaluations."""

import math

import numpy as np
from numpy.typing import NDArray

LEVEL, _Z95 = 0.95, 1.959964


def mean_interval(losses: NDArray[np.float64]) -> tuple[float, float]:
    """95 % confidence interval for the mean of paired differences, (N,).

    Images that are right or wrong differ by 1, 0 or -1. Theirs is Wald's interval, with half an
    image added to each cell of the table of outcomes. So it has a width even if nothing differs.
    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched
    proportions", 2005. Other differences have the interval of the normal distribution.
    """
    count = len(losses)
    if np.isin(losses, (-1, 0, 1)).all():
        count += 2
        center = float(losses.sum()) / count
        variance = (float(np.abs(losses).sum()) + 1) / count - center**2
    else:
        center, variance = float(losses.mean()), float(losses.var())
    margin = _Z95 * math.sqrt(variance / count)
    return center - margin, center + margin
