"""Histograms of activations over any number of images, in batches.

One batch of all images would need the memory of all their activations. Torch's observer merges the
histograms of batches, which is slow and inexact where a batch widens the range. Here the ranges are
known before the histograms are made, so that those of batches are added.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qmodels.network.images import batch_size


def observe(
    forward: Callable[[Tensor], Any], observers: Collection[nn.Module], images: Tensor
) -> None:
    """Fill the histograms of all observers that a forward calls.

    Args:
        observers: each a ``HistogramObserver``, of torch or of torchao.
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
