"""What tests share: a cache of their own, and small real models."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmodels import checkpoints, data, training
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.resnet import Resnet34


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache for the session, so that no test sees the user's."""
    folder = tmp_path_factory.mktemp("cache")
    # What engines answered is shared by all processes of a run: asking takes seconds each.
    answers = (
        tmp_path_factory.getbasetemp().parent
        / f"engines-{os.environ.get('PYTEST_XDIST_TESTRUNUID')}"
    )
    answers.mkdir(exist_ok=True)
    (folder / "engines").symlink_to(answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QMODELS_CACHE_DIR", str(folder))
        patch.delenv("QMODELS_DATA_DIR", raising=False)
        yield folder


@pytest.fixture(scope="session")
def cifar100_dir() -> Path:
    """The folder with CIFAR-100, for the few tests that want the real one."""
    folder = DATA_DIR or ""
    if not Path(folder, "cifar-100-python").is_dir():
        pytest.skip("QMODELS_DATA_DIR does not hold cifar-100-python")
    return Path(folder)


DATA_DIR = os.environ.get("QMODELS_DATA_DIR")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return data.load("digits")


@pytest.fixture(scope="session")
def digits_checkpoint(digits: Dataset, cache: Path) -> Checkpoint:
    """The shipped network of width 8."""
    return training.find_or_train(digits, "resnet34", 8)


@pytest.fixture
def digits_model(digits_checkpoint: Checkpoint) -> Resnet34:
    return checkpoints.load_model(digits_checkpoint)
