"""CIFAR-100 and the digits, whole in memory."""

from qmodels.data import cifar100, digits
from qmodels.data.cifar100 import data_dir, has_training_split
from qmodels.data.dataset import Dataset, Split, example_images, stratified_subset
from qmodels.system.errors import UserError

__all__ = [
    "DATASETS",
    "Dataset",
    "Split",
    "check",
    "data_dir",
    "example_images",
    "has_training_split",
    "load",
    "stratified_subset",
]

DATASETS = {"cifar100": cifar100.load, "digits": digits.load}


def check(name: str) -> str:
    """The name of a data set, if it is known.

    Raises:
        UserError: it is not; lists those that are.
    """
    if name not in DATASETS:
        raise UserError(f"unknown data set {name!r}: choose one of {', '.join(DATASETS)}")
    return name


def load(name: str) -> Dataset:
    """Load a data set by name, its training split apart, which is loaded when it is used."""
    return DATASETS[check(name)]()
