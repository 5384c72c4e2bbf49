"""A device whose memory runs out gets fewer images at a time."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from qmodels.data import Dataset
from qmodels.training import loop
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.recipes import FINE_TUNING, ResizeStage
from tests.training.conftest import QUICK, losses

pytestmark = pytest.mark.usefixtures("own_cache", "three_blocks")


def fit_at_most(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """A device whose memory runs out when more images pass at a time."""
    original = functional.cross_entropy

    def small(logits: Tensor, *arguments: object, **options: object) -> Tensor:
        if len(logits) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(logits, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "cross_entropy", small)


def test_out_of_memory_training_goes_on_to_the_same_loss(
    few: Dataset,
    parent: Checkpoint,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Quantization-aware, batch 128, on a device that holds 40 images at a time."""
    job = Job(
        few.with_train(few.train.first(256)),
        "resnet34",
        8,
        FINE_TUNING["fine-tune"].with_epochs(2),
        parent=parent,
        quantization_aware=True,
    )
    undisturbed = loop.train(job)
    fit_at_most(monkeypatch, 40)
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / "short"))
    short = loop.train(job)
    assert losses(own_cache / "short") == pytest.approx(losses(own_cache), abs=2e-3)
    assert short.top1 == pytest.approx(undisturbed.top1, abs=0.5)
    (log,) = (own_cache / "short" / "training").glob("*.log")
    said = [line for line in log.read_text().splitlines() if "out of memory" in line]
    assert said == [
        "out of memory: going on with 64 images at a time",
        "out of memory: going on with 32 images at a time",
    ]


def test_fewer_images_than_statistics_need_are_pointed_out(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_at_most(monkeypatch, 50)
    loop.train(Job(few, "resnet34", 4, replace(QUICK, stages=(ResizeStage(1, 16),))))
    (log,) = (own_cache / "training").glob("*.log")
    assert (
        "out of memory: going on with 50 images at a time; batch norm sees those instead of 100"
        in log.read_text()
    )
