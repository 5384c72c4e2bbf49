"""CIFAR-100 (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).

The test split and the calibration images come with the package. Only training needs the training
split, which torchvision downloads and verifies.
"""

from pathlib import Path

import torch

from qmodels.data import packaged
from qmodels.data.dataset import Dataset, Split
from qmodels.system import files, store
from qmodels.system.errors import UserError, first_line

DOWNLOADED = "cifar-100-python"  # as torchvision names it
PACKAGED = Path(__file__).parent / "cifar100_files"
SHA256 = {
    "test.webp": "5103545e67ac0fed17b680f566114a386ad8d5d8aa4b41c188d235a3962f8360",
    "test.labels": "4dad7d09c7c97d33f6cb928d705cf4196221316fd6e31bdd978a08ed9103ee0b",
    "calibration.webp": "adbd750d9167d5322f860070cf3ab40673ba2917cb2455daa0444a5e221060ea",
    "calibration.labels": "c5462ba4f7658c9c75de7e1335e80cbff2a8bd8286f8be6000a482d93f9ce0e4",
}
_TILE = 32


def load() -> Dataset:
    """CIFAR-100: 10,000 test and 1,000 calibration images of 100 classes, from the package."""
    return Dataset(
        name="cifar100",
        classes=100,
        test=packaged.read(PACKAGED / "test.webp", _TILE, SHA256),
        calibration=packaged.read(PACKAGED / "calibration.webp", _TILE, SHA256),
        load_train=load_train,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        hflip=True,
    )


def data_dir() -> Path:
    """Where the training split is or will be: ``QMODELS_DATA_DIR``, else in the cache."""
    return files.named_folder("QMODELS_DATA_DIR") or store.cache_dir("datasets")


def has_training_split() -> bool:
    """Whether the training split is on disk, unverified."""
    return (data_dir() / DOWNLOADED / "train").is_file()


def load_train() -> Split:
    """The 50,000 training images, downloaded where they are missing; checksums verified."""
    return read_downloaded(train=True)


def read_downloaded(*, train: bool) -> Split:
    """A split of the files that the data set's own site has, as ``load_train`` reads it."""
    from torchvision.datasets import CIFAR100  # takes longer to import than torch itself

    folder = data_dir() / DOWNLOADED
    try:
        if not folder.is_dir():
            with files.lock(store.cache_dir() / "cifar100-download"):
                CIFAR100(str(data_dir()), train=train, download=True)
        source = CIFAR100(str(data_dir()), train=train)
    except (RuntimeError, OSError, EOFError) as error:
        if folder.is_dir():
            raise UserError(
                f"{folder} is not CIFAR-100, or damaged (checksums differ): "
                "delete that folder and run again"
            ) from None
        raise UserError(
            f"training needs CIFAR-100's training split, which is not in {data_dir()} and can't be "
            f"downloaded ({first_line(error)}): set QMODELS_DATA_DIR to the folder that holds "
            f"{DOWNLOADED}"
        ) from None
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return Split(images, torch.tensor(source.targets))
