"""Images as the owner of a network has them, read in batches: a tensor, an array, a data set."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Whatever has a length and is indexed by position.
Images = Any
# Values of the images in a batch: 27 images of 3x224x224.
BATCH_VALUES = 2**22
MOST_IMAGES = 250


def read(images: Images, positions: Sequence[int]) -> Tensor:
    """The items at some positions, (N, ...), as one tensor.

    Args:
        images: of an item that is a tuple, as data sets with labels give it, the first part counts.
    """
    if isinstance(images, Tensor):
        return images[list(positions)]
    # torch's protocol for data sets that fetch several items at once.
    fetch = getattr(images, "__getitems__", None)
    items = fetch(list(positions)) if fetch else [images[position] for position in positions]
    return items if isinstance(items, Tensor) else torch.stack([_as_tensor(item) for item in items])


def _as_tensor(item: Any) -> Tensor:
    value = item[0] if isinstance(item, tuple | list) else item
    # An array may be a view of a file that can't be written to.
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


@dataclass(frozen=True)
class Subset:
    """Some of the images, in another order."""

    images: Images
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitems__(self, chosen: Sequence[int]) -> Tensor:
        return read(self.images, [self.positions[index] for index in chosen])


def batch_size(shape: Sequence[int], *, most: int = MOST_IMAGES, values: int = BATCH_VALUES) -> int:
    """The number of images of a shape (C, H, W) in a batch.

    Args:
        most: images.
        values: of images of three channels; fewer channels count as three, since activations of
            either have more.
    """
    channels, *sides = shape
    return max(1, min(most, values // (max(3, channels) * math.prod(sides))))


def batches(images: Images, size: int) -> Iterator[Tensor]:
    """All images, batch by batch."""
    for start in range(0, len(images), size):
        yield read(images, range(start, min(start + size, len(images))))
