"""Histograms of activations over any number of images, in batches.

One batch of all images would need the memory of all their activations. Torch's observer merges the
histograms of batches, which is slow and inexact where a batch widens the range. Here the ranges are
known before the histograms are made, so that those of batches are added.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from numpy import float32
from torch import Tensor, nn

from qmodels.network.images import batch_size

_BINS = 2048
_LEVELS = 256
# Share of the values that a step of the search leaves out.
_STEP = 1e-5


class HistogramObserver(nn.Module):
    """Counts values, and chooses the range whose 256 levels are nearest to them.

    Source: the search of torch's and torchao's observer of this name, which is that of Caffe2's
    ``norm_minimization.cc``. It leaves out quantiles, from the end where they take more bins, until
    the mean squared distance to the nearest level grows.

    Args:
        quant_min: the lowest level: 0 for uint8, -128 for int8.
        symmetric: the zero point is 0.
    """

    def __init__(self, *, quant_min: int = 0, symmetric: bool = False) -> None:
        super().__init__()
        self.quant_min = quant_min
        self.symmetric = symmetric
        self.histogram = torch.zeros(_BINS)
        self.min_val = torch.tensor(torch.inf)
        self.max_val = torch.tensor(-torch.inf)

    def forward(self, values: Tensor) -> Tensor:
        """Count values within the range of the first ones, or of a range that is known before."""
        if self.min_val > self.max_val:
            _widen(self, values)
        lowest, highest = float(self.min_val), float(self.max_val)
        self.histogram += torch.histc(values.detach(), _BINS, lowest, highest).cpu()
        return values

    def qparams(self) -> tuple[float, int]:
        """Scale and zero point; 1 and 0 where no value was counted."""
        if self.min_val > self.max_val:
            return 1.0, 0
        start, end = self._best_bins()
        width = (self.max_val - self.min_val) / _BINS
        lowest = (self.min_val + width * start).clamp(max=0)
        highest = (self.min_val + width * (end + 1)).clamp(min=0)
        least = torch.finfo(torch.float32).eps
        if self.symmetric:
            largest = torch.maximum(-lowest, highest)
            return float((largest / ((_LEVELS - 1) / 2)).clamp(min=least)), 0
        scale = ((highest - lowest) / (_LEVELS - 1)).clamp(min=least)
        zero_point = self.quant_min - int(torch.round(lowest / scale))
        return float(scale), min(max(zero_point, self.quant_min), self.quant_min + _LEVELS - 1)

    def _best_bins(self) -> tuple[int, int]:
        """The first and the last bin of the range."""
        total = float(self.histogram.sum())
        below = self.histogram.cumsum(0).tolist()
        start, end = 0, _BINS - 1
        left_out, kept = 0.0, 1.0
        least = float("inf")
        while left_out < kept:
            # Compared in float32, as torch does: else a range may differ by a bin.
            left = min(max(start, bisect_left(below, float32((left_out + _STEP) * total))), end)
            right = max(min(end, bisect_right(below, float32((kept - _STEP) * total)) - 1), start)
            if left - start > end - right:
                tried = left, end
                left_out += _STEP
            else:
                tried = start, right
                kept -= _STEP
            if tried == (start, end):
                continue
            error = self._squared_error(*tried)
            if error > least:
                break
            least, (start, end) = error, tried
        return start, end

    def _squared_error(self, start: int, end: int) -> float:
        """The sum of squared distances to levels between two bins, values uniform in each bin."""
        width = (float(self.max_val) - float(self.min_val)) / _BINS
        level = width * (end - start + 1) / _LEVELS
        if level == 0:
            return 0.0
        left = (torch.arange(_BINS) - start) * width
        right = left + width
        first, last = (
            torch.div(side, level, rounding_mode="floor").clamp(0, _LEVELS - 1)
            for side in (left, right)
        )
        density = self.histogram / width
        half = torch.tensor(level / 2)

        def integral(begin: Tensor, stop: Tensor) -> Tensor:
            return density * ((stop * stop * stop - begin * begin * begin) / 3)

        parts = integral(left - (first + 0.5) * level, half)
        parts += (last - first - 1) * integral(-half, half)
        parts += integral(-half, right - (last * level + level / 2))
        return float(parts.sum())


def observe(
    forward: Callable[[Tensor], Any], observers: Collection[nn.Module], images: Tensor
) -> None:
    """Fill the histograms of all observers that a forward calls.

    Args:
        observers: each a ``HistogramObserver``: of this module, of torch or of torchao.
        images: (N, C, H, W) float32, normalized.
    """
    batches = images.split(batch_size(images.shape[1:], most=len(images)))
    with torch.no_grad():
        if len(batches) > 1:
            with _ranges_alone(observers):
                for batch in batches:
                    forward(batch)
        for batch in batches:
            forward(batch)


def observers_of(model: nn.Module) -> list[nn.Module]:
    """The observers with histograms in a model."""
    return [part for part in model.modules() if hasattr(part, "histogram")]


@contextmanager
def _ranges_alone(observers: Collection[nn.Module]) -> Iterator[None]:
    """Have observers widen their ranges, and fill no histogram, while the block lasts."""
    for observer in observers:
        observer.forward = partial(_widen, observer)
    try:
        yield
    finally:
        for observer in observers:
            del observer.forward


def _widen(observer: Any, values: Tensor) -> Tensor:
    lowest, highest = torch.aminmax(values)
    observer.min_val.copy_(torch.minimum(observer.min_val, lowest))
    observer.max_val.copy_(torch.maximum(observer.max_val, highest))
    return values
