"""The two data sets, whole in memory as uint8, and the calibration subsets drawn from them.

``cifar100`` is Krizhevsky's (2009), read and verified by torchvision. ``digits`` is the embedded
default that needs no network: the 1,797 handwritten digits that scikit-learn ships (the test part
of Alpaydin and Kaynak's UCI set, 1998), enlarged from 8x8 to 32x32.
"""

import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from qmodels import store
from qmodels.errors import UserError, first_line

DATASETS = ("cifar100", "digits")
CIFAR100_FOLDER = "cifar-100-python"  # as torchvision names it
CIFAR100_HOST = ("www.cs.toronto.edu", 443)
DOWNLOAD_PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class Split:
    """Images (N, 3, 32, 32) uint8 and their labels (N,) int64."""

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

    ``mean`` and ``std`` are per channel, of the training split, in units where white is 1.
    ``mirrors`` says whether a mirrored image is still one of its class (a digit is not).
    """

    name: str
    classes: int
    train: Split
    test: Split
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mirrors: bool

    def normalize(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) uint8 as float32 of mean 0 and variance 1 over the training split."""
        mean = torch.tensor(self.mean, device=images.device).view(1, 3, 1, 1) * 255
        std = torch.tensor(self.std, device=images.device).view(1, 3, 1, 1) * 255
        return (images.float() - mean) / std


@dataclass(frozen=True)
class Choice:
    """Which data set is used, and why, in words for the user."""

    name: str
    reason: str


def data_dir() -> Path:
    """Where ``cifar-100-python`` is or will be: ``QMODELS_DATA_DIR``, else in the cache."""
    configured = os.environ.get("QMODELS_DATA_DIR")
    return Path(configured) if configured else store.cache_dir("datasets")


def choose(name: str) -> Choice:
    """Resolve ``auto``: CIFAR-100 where it is on disk or its site answers, else digits.

    Raises:
        UserError: unknown data set.
    """
    if name in DATASETS:
        return Choice(name, "asked for")
    if name != "auto":
        known = ", ".join(("auto", *DATASETS))
        raise UserError(f"unknown data set {name!r}: choose one of {known}")
    if cifar100_folder().is_dir():
        return Choice("cifar100", f"found in {data_dir()}")
    try:
        socket.create_connection(CIFAR100_HOST, timeout=DOWNLOAD_PROBE_SECONDS).close()
    except OSError:
        return Choice(
            "digits", f"CIFAR-100 is not in {data_dir()} and {CIFAR100_HOST[0]} does not answer"
        )
    return Choice("cifar100", f"downloading to {data_dir()}")


def load(name: str) -> Dataset:
    """Load a data set by name, downloading CIFAR-100 where it is missing.

    Raises:
        UserError: unknown name; CIFAR-100 damaged, or neither on disk nor to be had.
    """
    name = choose(name).name
    return load_cifar100() if name == "cifar100" else load_digits()


def load_cifar100() -> Dataset:
    """CIFAR-100: 50,000 training and 10,000 test images of 100 classes, checksums verified."""
    from torchvision.datasets import CIFAR100  # takes longer to import than torch itself

    folder = cifar100_folder()
    try:
        if not folder.is_dir():
            with FileLock(store.cache_dir() / "cifar100-download.lock"):
                CIFAR100(str(data_dir()), train=True, download=True)
        train = CIFAR100(str(data_dir()), train=True)
        test = CIFAR100(str(data_dir()), train=False)
    except (RuntimeError, OSError, EOFError) as error:
        if folder.is_dir():
            raise UserError(
                f"CIFAR-100 in {folder} is damaged (checksums differ): "
                "delete that folder and run again"
            ) from None
        raise UserError(
            f"CIFAR-100 is not in {data_dir()} and can't be downloaded ({first_line(error)}): "
            "set QMODELS_DATA_DIR to the folder that holds cifar-100-python, or use the digits"
        ) from None
    return Dataset(
        name="cifar100",
        classes=100,
        train=cifar100_split(train),
        test=cifar100_split(test),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        mirrors=True,
    )


def cifar100_folder() -> Path:
    """The folder that torchvision reads."""
    return data_dir() / CIFAR100_FOLDER


def cifar100_split(source: Any) -> Split:
    """A torchvision split as tensors: its array is (N, 32, 32, 3) uint8."""
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(source.targets))


def load_digits() -> Dataset:
    """Handwritten digits: 1,201 training and 596 test images of 10 classes.

    Every third image of each class, in the data set's own order, is a test image.
    """
    from sklearn import datasets  # slow to import, and only digits need it

    source = datasets.load_digits()
    pixels = torch.from_numpy(source.images).float() * (255 / 16)
    images = torch.nn.functional.interpolate(pixels[:, None], size=32, mode="bilinear")
    images = images.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    everything = Split(images, torch.from_numpy(source.target).long())
    rank = torch.zeros(len(everything), dtype=torch.int64)
    for digit in range(10):
        members = everything.labels == digit
        rank[members] = torch.arange(int(members.sum()))
    held_out = rank % 3 == 2
    train = everything.take(torch.nonzero(~held_out).flatten())
    # From the training split: tests hold these figures against it.
    return Dataset(
        name="digits",
        classes=10,
        train=train,
        test=everything.take(torch.nonzero(held_out).flatten()),
        mean=(0.3047,) * 3,
        std=(0.3234,) * 3,
        mirrors=False,
    )


def stratified_subset(split: Split, count: int, *, seed: int = 0) -> Split:
    """Draw some images: stratified by class, shuffled, the same for the same seed.

    Args:
        split: for calibration the training split; test images would flatter the result.
        count: images to draw, at most all of them. Classes get equal shares, up to one image.

    Raises:
        UserError: more images asked for than there are.
    """
    if not 1 <= count <= len(split):
        raise UserError(f"{count} images can't be drawn: choose from 1 to {len(split)}")
    generator = torch.Generator().manual_seed(seed)
    chosen = stratified_order(split, generator)[:count]
    return split.take(chosen[torch.randperm(count, generator=generator)])


def stratified_order(split: Split, generator: torch.Generator) -> Tensor:
    """All positions, (N,) int64, in an order any beginning of which is stratified by class."""
    order = torch.randperm(len(split), generator=generator)
    # Sorted by each image's rank among those of its class.
    rank = torch.zeros(len(split), dtype=torch.int64)
    for label in range(int(split.labels.max()) + 1):
        members = split.labels[order] == label
        rank[members] = torch.arange(int(members.sum()))
    return order[torch.argsort(rank, stable=True)]


def for_tuning(dataset: Dataset) -> Dataset:
    """A data set of the training split alone: a tenth, stratified, is what accuracy is of.

    Under another name, so that nothing made with it is taken for the real one's.
    """
    order = stratified_order(dataset.train, torch.Generator().manual_seed(0))
    held_out = len(order) // 10
    return replace(
        dataset,
        name=f"{dataset.name}-tuning",
        train=dataset.train.take(order[held_out:]),
        test=dataset.train.take(order[:held_out]),
    )
