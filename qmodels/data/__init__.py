"""CIFAR-100 and the digits, whole in memory."""

from qmodels.data.cifar100 import data_dir
from qmodels.data.dataset import Dataset, Split, example_images, for_tuning, stratified_subset
from qmodels.data.selection import DATASETS, Choice, choose, load

__all__ = [
    "DATASETS",
    "Choice",
    "Dataset",
    "Split",
    "choose",
    "data_dir",
    "example_images",
    "for_tuning",
    "load",
    "stratified_subset",
]
