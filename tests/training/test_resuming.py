"""A training that was killed goes on, and ends with the same weights."""

import multiprocessing
import multiprocessing.process
import os
import time
from pathlib import Path

import pytest
import torch

from qmodels import data
from qmodels.data import Dataset
from qmodels.network import resnet
from qmodels.training import checkpoints, loop
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from tests import small
from tests.training.conftest import EVERYTHING, losses, weights

pytestmark = pytest.mark.usefixtures("own_cache", "three_blocks")


def train_few(cache: Path) -> None:
    """Run in a process of its own: four short epochs."""
    os.environ["QMODELS_CACHE_DIR"] = str(cache)
    resnet.BLOCKS_PER_STAGE = small.BLOCKS
    torch.set_num_threads(1)
    whole = data.load("digits")
    few = whole.with_train(whole.train.first(200))
    loop.train(Job(few, "resnet34", 4, EVERYTHING, reduced_precision=False))


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(own_cache: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.optim", "sklearn.datasets"])

    def start(cache: str) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=train_few, args=(own_cache / cache,))
        process.start()
        return process

    def finish(cache: str) -> None:
        process = start(cache)
        process.join()
        assert process.exitcode == 0

    finish("undisturbed")
    victim = start("killed")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(
        "epoch 2/" in log.read_text() for log in (own_cache / "killed").glob("training/*.log")
    ):
        time.sleep(0.01)
    victim.kill()
    victim.join()
    assert not (own_cache / "killed" / "checkpoints" / "index.json").exists()
    finish("killed")
    assert len(losses(own_cache / "killed")) == 4, "it started again instead of going on"
    resumed = weights(own_cache / "killed")
    for name, value in weights(own_cache / "undisturbed").items():
        assert torch.equal(value, resumed[name]), name


class Killed(BaseException):
    """Not an Exception, so that nothing which handles those handles it."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Dies before or after the n-th file that training puts in place: [n, 0 or 1]."""
    moment = [-1, 0]
    moved = 0
    replace_file = Path.replace

    def dies(self: Path, target: Path) -> Path:
        nonlocal moved
        moved += 1
        if moved == moment[0] and not moment[1]:
            raise Killed
        result = replace_file(self, target)
        if moved == moment[0] and moment[1]:
            raise Killed
        return result

    monkeypatch.setattr(Path, "replace", dies)
    return moment


@pytest.fixture(scope="module")
def undisturbed(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "BLOCKS_PER_STAGE", small.BLOCKS)
        patch.setenv("QMODELS_CACHE_DIR", str(tmp_path_factory.mktemp("undisturbed")))
        return loop.train(
            Job(few, "resnet34", 4, EVERYTHING.with_epochs(2), reduced_precision=False)
        )


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_killed_at_a_write_it_goes_on_too(
    write: int,
    after: int,
    few: Dataset,
    own_cache: Path,
    undisturbed: Checkpoint,
    dying: list[int],
) -> None:
    """Two epochs, two states; then the weights and their index."""
    job = Job(few, "resnet34", 4, EVERYTHING.with_epochs(2), reduced_precision=False)
    dying[:] = [write, after]
    with pytest.raises(Killed):
        loop.train(job)
    resumed = loop.train(job)
    assert resumed.sha256 == undisturbed.sha256
    assert resumed.top1 == undisturbed.top1
    assert checkpoints.read_index(resumed.folder) == [resumed]
    # What was saved is not trained again; the line of an epoch is written after its state.
    assert len(losses(own_cache)) == (2 if write > 2 or not after else 1)
