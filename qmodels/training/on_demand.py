"""Checkpoints for whoever needs one: found, else trained now where that is quick."""

import torch
from rich.console import Console

from qmodels.data import Dataset
from qmodels.system import defaults
from qmodels.system.errors import Unavailable
from qmodels.training import checkpoints
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.loop import train
from qmodels.training.recipes import FINE_TUNING, RECIPES, Recipe

_QUICK_WIDTH = 16  # digits train in a minute on two cores up to here


def recipe_for(dataset: str, width: int) -> Recipe:
    """The recipe used where none is named."""
    if dataset == "digits":
        return RECIPES["digits"]
    if torch.cuda.is_available():
        return RECIPES["default"]
    return RECIPES["wide-cpu" if width > defaults.WIDTHS["cifar100"] else "compact-cpu"]


def quick(dataset: str, width: int) -> bool:
    """Whether training takes minutes at most, which a fixture may."""
    return torch.cuda.is_available() or (dataset == "digits" and width <= _QUICK_WIDTH)


def find_or_train(
    dataset: Dataset, architecture: str, width: int, *, console: Console | None = None
) -> Checkpoint:
    """Trained weights: shipped, else from the cache, else trained now where that is quick.

    Raises:
        UserError: there are none, and training takes longer than a fixture may; names the command.
    """
    if checkpoints.find(architecture, width, dataset.name) is None and quick(dataset.name, width):
        recipe = recipe_for(dataset.name, width)
        return train(Job(dataset, architecture, width, recipe), console=console)
    return checkpoints.usual(architecture, width, dataset.name)


def find_or_fine_tune(
    parent: Checkpoint, dataset: Dataset, *, console: Console | None = None
) -> Checkpoint:
    """The quantization-aware sibling of a checkpoint, made now where that is quick.

    Raises:
        Unavailable: there is none, and making it takes longer than a fixture may.
    """
    checkpoint = checkpoints.find_quantization_aware(parent)
    if checkpoint is not None:
        return checkpoint
    if quick(dataset.name, parent.width):
        return train(
            Job(
                dataset,
                parent.architecture,
                parent.width,
                FINE_TUNING["fine-tune"],
                parent=parent,
                quantization_aware=True,
            ),
            console=console,
        )
    raise Unavailable(
        f"{parent.file} has no quantization-aware sibling: make it with "
        f"`qmodels train --qat --from {parent.path.stem}`"
    )
