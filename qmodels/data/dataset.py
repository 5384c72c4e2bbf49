"""A data set whole in memory as uint8, and the subsets drawn from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from qmodels.system.errors import UserError

CALIBRATION_IMAGES = 1000


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) uint8 and their labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "Split":
        """The images at some positions, (M,) int64."""
        return Split(self.images[indices], self.labels[indices])

    def first(self, count: int) -> "Split":
        """The first images."""
        return Split(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class Dataset:
    """A classification problem, with what its images need before a network sees them.

    Attributes:
        calibration: what quantizers look at, drawn from the training split.
        load_train: reads the training split, which only training needs.
        mean, std: of each channel over the training split, in units where white is 1.
        hflip: whether a mirrored image is still one of its class (a digit is not).
    """

    name: str
    classes: int
    test: Split
    calibration: Split
    load_train: Callable[[], Split]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    hflip: bool

    @cached_property
    def train(self) -> Split:
        """The training split, loaded when it is first used."""
        return self.load_train()

    def with_train(self, train: Split) -> "Dataset":
        """The same with another training split."""
        return replace(self, load_train=lambda: train)

    def normalized(self, images: Tensor) -> "Normalized":
        """Images (N, C, H, W) uint8, each normalized when it is read."""
        return Normalized(self, images)

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) uint8 as float32 of mean 0 and variance 1 over the training split."""
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1) * 255
        return (images.float() - mean) / std


@dataclass(frozen=True)
class Normalized:
    """Images of a data set as its networks take them: (C, H, W) float32."""

    dataset: Dataset
    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> Tensor:
        return self.dataset.normalize(self.images[list(positions)])


def stratified_subset(split: Split, count: int, *, seed: int = 0) -> Split:
    """Draw some images: stratified by class, shuffled, the same for the same seed.

    Args:
        split: for calibration the training split; test images would flatter the result.
        count: images to draw, at most all of them. Classes get equal shares, up to one image.
    """
    return split.take(stratified_positions(split.labels, count, seed=seed))


def stratified_positions(labels: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """The positions (count,) int64 of ``stratified_subset``, by the labels (N,) of the images."""
    if not 1 <= count <= len(labels):
        raise UserError(f"{count} images can't be drawn: choose from 1 to {len(labels)}")
    generator = torch.Generator().manual_seed(seed)
    chosen = _stratified_order(labels, generator)[:count]
    return chosen[torch.randperm(count, generator=generator)]


def _stratified_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """All positions, (N,) int64, in an order any beginning of which is stratified by class."""
    order = torch.randperm(len(labels), generator=generator)
    # Sorted by each image's rank among those of its class.
    rank = torch.zeros(len(labels), dtype=torch.int64)
    for label in range(int(labels.max()) + 1):
        members = labels[order] == label
        rank[members] = torch.arange(int(members.sum()))
    return order[torch.argsort(rank, stable=True)]


def example_images(count: int, shape: Sequence[int]) -> Tensor:
    """Standard normal images, (count, *shape) float32, always the same.

    Args:
        shape: channels, height and width.
    """
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
