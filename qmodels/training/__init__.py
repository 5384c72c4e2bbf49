"""Train a network from a recipe, or find that it was trained before."""

from qmodels.training.loop import Job, train
from qmodels.training.on_demand import (
    DEFAULT_WIDTH,
    find_or_fine_tune,
    find_or_train,
    recipe_for,
)

__all__ = ["DEFAULT_WIDTH", "Job", "find_or_fine_tune", "find_or_train", "recipe_for", "train"]
