"""What tests share: a cache of their own, and small real models."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Processes that test side by side (pytest-xdist) would else wait for one another's threads: a
# training of a second then takes a minute. Read when torch is imported, here and in children.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from torch import nn

from qmodels import data
from qmodels.backends.base import Backend, Stored
from qmodels.data import Dataset
from qmodels.network import Network, open_network
from qmodels.training import checkpoints, networks, on_demand
from qmodels.training.checkpoints import Checkpoint

pytest_plugins = ("pytester",)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache for the session, so that no test sees the user's.

    All processes of a run share it: they build everything once, and prove its locks.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QMODELS_CACHE_DIR", str(folder))
        patch.delenv("QMODELS_DATA_DIR", raising=False)
        yield folder


@pytest.fixture(scope="session", autouse=True)
def no_repository_of_a_hook() -> Iterator[None]:
    """Unset the variables that git gives to a hook: tests make repositories of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        yield


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
    return on_demand.find_or_train(digits, "resnet34", 8)


@pytest.fixture(scope="session")
def digits_network(digits: Dataset, digits_checkpoint: Checkpoint) -> Network:
    return networks.of_checkpoint(digits_checkpoint, digits)


@pytest.fixture
def digits_model(digits_checkpoint: Checkpoint) -> nn.Module:
    return checkpoints.load_model(digits_checkpoint)


@pytest.fixture(scope="session")
def small_network() -> Network:
    """A trained network that takes a second to build, to store and to run."""
    return open_network("tests.small:network")


@pytest.fixture(scope="session")
def small_model(small_network: Network) -> nn.Module:
    """Its module, which must not be changed."""
    return small_network.load()


@dataclass(frozen=True)
class Files:
    """As an artifact is to a backend."""

    folder: Path
    blank: Callable[[], nn.Module]

    def modules(self) -> nn.Module:
        return self.blank()


Save = Callable[..., Stored]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save what a variant's function gives; returns the files, which modules of ``blank`` fill."""

    def saved(backend: Backend, model: Any, blank: Callable[[], nn.Module] = nn.Identity) -> Stored:
        backend.save(model, tmp_path)
        return Files(tmp_path, blank)

    return saved
