"""CIFAR-100 (Krizhevsky, 2009), read and verified by torchvision."""

import os
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from qmodels.data.dataset import Dataset, Split
from qmodels.system import store
from qmodels.system.errors import UserError, first_line

FOLDER = "cifar-100-python"  # as torchvision names it


def data_dir() -> Path:
    """Where ``cifar-100-python`` is or will be: ``QMODELS_DATA_DIR``, else in the cache."""
    configured = os.environ.get("QMODELS_DATA_DIR")
    return Path(configured) if configured else store.cache_dir("datasets")


def load() -> Dataset:
    """CIFAR-100: 50,000 training and 10,000 test images of 100 classes, checksums verified."""
    from torchvision.datasets import CIFAR100  # takes longer to import than torch itself

    path = folder()
    try:
        if not path.is_dir():
            with FileLock(store.cache_dir() / "cifar100-download.lock"):
                CIFAR100(str(data_dir()), train=True, download=True)
        train = CIFAR100(str(data_dir()), train=True)
        test = CIFAR100(str(data_dir()), train=False)
    except (RuntimeError, OSError, EOFError) as error:
        if path.is_dir():
            raise UserError(
                f"CIFAR-100 in {path} is damaged (checksums differ): "
                "delete that folder and run again"
            ) from None
        raise UserError(
            f"CIFAR-100 is not in {data_dir()} and can't be downloaded ({first_line(error)}): "
            "set QMODELS_DATA_DIR to the folder that holds cifar-100-python, or use the digits"
        ) from None
    return Dataset(
        name="cifar100",
        classes=100,
        train=as_split(train),
        test=as_split(test),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        mirrors=True,
    )


def folder() -> Path:
    """The folder that torchvision reads."""
    return data_dir() / FOLDER


def as_split(source: Any) -> Split:
    """A torchvision split as tensors: its array is (N, 32, 32, 3) uint8."""
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(source.targets))
