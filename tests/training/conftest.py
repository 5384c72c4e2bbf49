"""Trainings that take seconds."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from qmodels.data import Dataset
from qmodels.network import resnet
from qmodels.training import checkpoints
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.recipes import RECIPES, Recipe, ResizeStage
from tests import small

QUICK = Recipe(
    "quick", (ResizeStage(1, 16), ResizeStage(2, 32)), batch_size=100, peak_rate=0.1, warmup=0.3
)
# All that training from scratch can do.
EVERYTHING = replace(
    RECIPES["default"],
    name="everything",
    stages=(ResizeStage(4, 16),),
    batch_size=50,
    peak_rate=0.05,
)


@pytest.fixture(scope="session")
def few(digits: Dataset) -> Dataset:
    return digits.with_train(digits.train.first(200))


@pytest.fixture(scope="session")
def parent(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A trained network of three blocks."""
    recipe = replace(QUICK, name="parent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QMODELS_CACHE_DIR", str(tmp_path_factory.mktemp("parent")))
        description = Job(digits, "resnet34", small.WIDTH, recipe).description
    return checkpoints.save(small.model().state_dict(), replace(description, top1=small.TOP1))


@pytest.fixture
def three_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have networks three blocks, not sixteen: a step takes milliseconds."""
    monkeypatch.setattr(resnet, "BLOCKS_PER_STAGE", small.BLOCKS)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    return tmp_path


def losses(cache: Path) -> list[float]:
    """The loss of each epoch, from the one log in a cache."""
    (log,) = (cache / "training").glob("*.log")
    return [float(loss) for loss in re.findall(r"loss ([\d.]+)", log.read_text())]


def weights(cache: Path) -> dict[str, Tensor]:
    """The one checkpoint in a cache."""
    (file,) = (cache / "checkpoints").glob("*.safetensors")
    return load_file(file)
