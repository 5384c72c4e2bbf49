"""Two processes on the CPU, joined by gloo."""

import multiprocessing
import os
import re
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qmodels import data
from qmodels.network import resnet
from qmodels.training import loop
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.recipes import Recipe, ResizeStage
from tests import small

# From trained weights: from random ones, rounding alone changes the loss by a percent within five
# steps, in one process too.
RECIPE = Recipe(
    "together",
    (ResizeStage(1, 24), ResizeStage(1, 32)),
    batch_size=64,
    peak_rate=2e-3,
    warmup=0.2,
    label_smoothing=0.1,
    cutmix=0.5,
    averaging=0.5,
)


def train_share(cache: Path, parent: Checkpoint, rank: int, count: int, port: int) -> None:
    """One process, as torchrun would start it."""
    os.environ |= {
        "QMODELS_CACHE_DIR": str(cache),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    resnet.BLOCKS_PER_STAGE = small.BLOCKS
    torch.set_num_threads(1)
    whole = data.load("digits")
    few = whole.with_train(whole.train.first(256))
    loop.train(Job(few, "resnet34", 8, RECIPE, parent=parent, reduced_precision=False))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def caches(parent: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What one process and what two left in their caches."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.optim", "sklearn.datasets"])
    folders = []
    for count in (1, 2):
        folder = tmp_path_factory.mktemp(f"by-{count}")
        port = free_port()
        processes = [
            context.Process(target=train_share, args=(folder, parent, rank, count, port))
            for rank in range(count)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(180)
        assert [process.exitcode for process in processes] == [0] * count
        folders.append(folder)
    return folders


def test_two_processes_have_the_loss_curve_of_one_with_the_whole_batch(caches: list[Path]) -> None:
    curves = []
    for cache in caches:
        (log,) = (cache / "training").glob("*.log")
        curves.append([float(loss) for loss in re.findall(r"loss ([\d.]+)", log.read_text())])
    single, double = curves
    assert len(single) == len(double) == 2
    assert len(set(single)) == 2
    assert double == pytest.approx(single, rel=2e-4)


def test_and_its_weights_and_statistics(caches: list[Path]) -> None:
    single, double = (
        load_file(next((cache / "checkpoints").glob("*.safetensors"))) for cache in caches
    )
    for name, value in single.items():
        if value.is_floating_point():
            torch.testing.assert_close(double[name], value, rtol=1e-3, atol=1e-3, msg=name)
