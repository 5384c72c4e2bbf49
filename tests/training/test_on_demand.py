from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qmodels.data import Dataset
from qmodels.system import store
from qmodels.system.errors import Unavailable, UserError
from qmodels.training import checkpoints, on_demand
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.recipes import FINE_TUNING, RECIPES, Recipe, ResizeStage

QUICK = Recipe("quick", (ResizeStage(1, 16),), batch_size=100, peak_rate=0.1, warmup=0.3)


@pytest.fixture
def few(digits: Dataset) -> Dataset:
    return digits.with_train(digits.train.first(200))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_without_a_checkpoint_the_line_says_what_to_run(digits: Dataset) -> None:
    cifar100 = replace(digits, name="cifar100")
    with pytest.raises(UserError, match="qmodels train --dataset cifar100 .*--width 48"):
        on_demand.find_or_train(cifar100, "resnet34", 48)


def test_digits_are_trained_where_no_checkpoint_is(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "digits", QUICK)
    assert checkpoints.find("preact_resnet34", 4, "digits") is None
    trained = on_demand.find_or_train(few, "preact_resnet34", 4)
    assert trained.folder == store.cache_dir("checkpoints")
    assert on_demand.find_or_train(few, "preact_resnet34", 4) == trained


def test_with_a_gpu_anything_is_trained_by_the_default_recipe(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision alone: no GPU is at hand."""
    jobs: list[Job] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(on_demand, "train", lambda job, console: jobs.append(job))
    on_demand.find_or_train(replace(few, name="cifar100"), "resnet34", 48)
    assert [(job.recipe, job.width) for job in jobs] == [(RECIPES["default"], 48)]


def test_a_quantization_aware_sibling_is_found_made_or_asked_for(
    few: Dataset, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "shipped_dirs", lambda: ())
    short = replace(FINE_TUNING["fine-tune"], stages=(ResizeStage(1, 16),))
    monkeypatch.setitem(FINE_TUNING, "fine-tune", short)
    tuned = on_demand.find_or_fine_tune(digits_checkpoint, few)
    assert tuned.quantization_aware
    assert tuned.parent == digits_checkpoint.sha256
    assert on_demand.find_or_fine_tune(digits_checkpoint, few) == tuned
    other = replace(digits_checkpoint, sha256="of another file")
    with pytest.raises(Unavailable, match="qmodels train --qat --from digits-resnet34-w8"):
        on_demand.find_or_fine_tune(other, replace(few, name="cifar100"))
    assert checkpoints.find("resnet34", 8, "digits") is None, "no sibling is taken for its parent"
