"""What training gives, what it refuses, and that it follows its recipe."""

import os
import random
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from qmodels.data import Dataset
from qmodels.network import evaluation, resnet
from qmodels.system import store
from qmodels.system.errors import UserError
from qmodels.training import augmentation, checkpoints, distributed, loop, state
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.recipes import FINE_TUNING, RECIPES, ResizeStage
from tests.training.conftest import EVERYTHING, QUICK, losses, weights

pytestmark = pytest.mark.usefixtures("own_cache", "three_blocks")


def test_training_learns_records_and_cleans_up(few: Dataset, own_cache: Path) -> None:
    recipe = replace(QUICK, stages=(ResizeStage(10, 32),), batch_size=10)
    trained = loop.train(Job(few, "resnet34", 8, recipe))
    assert trained == checkpoints.resolve(trained.path.stem)
    assert (trained.recipe, trained.seed) == (recipe, 0)
    assert trained.top1 > 60
    logits = evaluation.predict(checkpoints.load_model(trained), few.normalized(few.test.images))
    assert evaluation.accuracy(logits, few.test.labels) == (trained.top1, trained.top5_error)
    log = next((own_cache / "training").glob("*.log")).read_text().splitlines()
    assert len(log) == 11
    assert "epoch 10/10" in log[9]
    assert not list((own_cache / "training").glob("*.safetensors"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for index, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / str(index)))
        recipe = EVERYTHING.with_epochs(1)
        digests.append(
            loop.train(Job(few, "preact_resnet34", 4, recipe, seed, reduced_precision=False)).sha256
        )
    assert digests[0] == digests[1] != digests[2]


def test_what_was_trained_is_not_trained_again(few: Dataset, own_cache: Path) -> None:
    job = Job(few, "resnet34", 4, EVERYTHING.with_epochs(1), reduced_precision=False)
    trained = loop.train(job)
    stamp = trained.path.stat().st_mtime_ns
    assert loop.train(job) == trained
    assert trained.path.stat().st_mtime_ns == stamp
    trained.path.unlink()
    assert loop.train(job) == trained
    assert trained.path.stat().st_mtime_ns > stamp


def test_jobs_that_differ_have_files_that_differ(few: Dataset, parent: Checkpoint) -> None:
    jobs = [
        Job(few, "resnet34", 8, QUICK),
        Job(few, "resnet34", 8, QUICK, seed=1),
        Job(few, "resnet34", 4, QUICK),
        Job(few, "preact_resnet34", 4, QUICK),
        Job(few, "resnet34", 8, QUICK, parent=parent),
        Job(few, "resnet34", 8, QUICK, parent=parent, quantization_aware=True),
        Job(few, "resnet34", 8, replace(QUICK, name="other"), parent=parent),
    ]
    assert len({job.name for job in jobs}) == len(jobs)


# Refused, or stopped.


def test_a_loss_that_is_not_finite_stops_in_one_line_and_keeps_the_last_epoch(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = augmentation.resize
    calls = 0

    def poisoned(images: Tensor, size: int) -> Tensor:
        nonlocal calls
        calls += 1
        return original(images, size) * (float("nan") if calls > 2 else 1)  # from the second epoch

    monkeypatch.setattr(augmentation, "resize", poisoned)
    with pytest.raises(UserError, match="loss of epoch 2 is nan; epoch 1 is kept") as caught:
        loop.train(Job(few, "resnet34", 4, QUICK, reduced_precision=False))
    assert "\n" not in str(caught.value)
    kept = next((own_cache / "training").glob("*.safetensors"))
    assert all(bool(value.isfinite().all()) for value in load_file(kept).values())


def test_a_cache_that_is_no_folder_is_one_line(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_cache / "file").write_text("")
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / "file"))
    with pytest.raises(UserError, match="set QMODELS_CACHE_DIR to a folder that can be written"):
        loop.train(Job(few, "resnet34", 4, QUICK))


# The recipe is followed.


def test_weight_decay_spares_batch_norms_and_biases() -> None:
    model = resnet.build("resnet34", 4, 10)
    decayed, spared = loop.sgd(model, RECIPES["digits"]).param_groups
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    assert {p.dim() for p in spared["params"]} == {1}
    assert spared["weight_decay"] == 0 < decayed["weight_decay"]


def test_batch_norms_and_ranges_are_frozen_when_the_recipe_says(
    few: Dataset, parent: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded at the end of each epoch of a quantization-aware run."""
    recipe = replace(FINE_TUNING["fine-tune"].with_epochs(4), stages=(ResizeStage(4, 16),))
    seen: list[tuple[Tensor, Tensor]] = []
    save = state.save

    def keep(path: Path, everything: state.State, epochs: int, precision: str) -> None:
        values = everything.model.state_dict()
        means = [v.flatten() for name, v in values.items() if name.endswith("running_mean")]
        scales = [v.flatten() for name, v in values.items() if name.endswith("scale")]
        seen.append((torch.cat(means), torch.cat(scales)))
        save(path, everything, epochs, precision)

    monkeypatch.setattr(state, "save", keep)
    fewer = few.with_train(few.train.first(128))
    loop.train(Job(fewer, "resnet34", 8, recipe, parent=parent, quantization_aware=True))
    assert [recipe.before(recipe.batch_norm_until, epoch) for epoch in range(4)].count(True) == 1
    assert [recipe.before(recipe.observers_until, epoch) for epoch in range(4)].count(True) == 2
    means, scales = zip(*seen, strict=True)
    assert torch.equal(means[0], means[1])
    assert torch.equal(means[0], means[3])
    assert not torch.equal(scales[0], scales[1])
    assert torch.equal(scales[1], scales[2])
    assert torch.equal(scales[1], scales[3])


def test_averaging_changes_what_is_kept_and_not_how_it_is_trained(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for averaging, cache in ((0.0, "last"), (2.0, "averaged")):
        monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / cache))
        recipe = replace(EVERYTHING, averaging=averaging).with_epochs(2)
        loop.train(Job(few, "resnet34", 4, recipe, reduced_precision=False))
    assert losses(own_cache / "last") == losses(own_cache / "averaged")
    last, averaged = weights(own_cache / "last"), weights(own_cache / "averaged")
    assert not torch.equal(last["stem.conv.weight"], averaged["stem.conv.weight"])


def test_a_log_that_can_not_be_written_is_one_line(few: Dataset, own_cache: Path) -> None:
    job = Job(few, "resnet34", 4, QUICK.with_epochs(2))
    log = loop.state_path(
        job.description,
        distributed.Workers(0, 1, torch.device("cpu")),
    ).with_suffix(".log")
    log.mkdir(parents=True)
    with pytest.raises(UserError, match="can't be written .Is a directory."):
        loop.train(job)


def test_store_and_random_are_untouched(few: Dataset, own_cache: Path) -> None:
    """Training draws from a generator of its own: what runs after it is not changed."""
    torch.manual_seed(5)
    random.seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loop.train(Job(few, "resnet34", 4, replace(QUICK, stages=(ResizeStage(1, 16),))))
    assert torch.equal(torch.rand(3), expected)
    assert store.cache_dir("training").exists()


def test_gradients_of_narrow_networks_are_those_of_reference_arithmetic() -> None:
    """Channels last, oneDNN's are wrong by half for 4 channels on AVX2, and crash for 8 on AVX-512.

    A child runs it, because what is written past a buffer's end may crash later.
    """
    script = """
        from itertools import product
        import torch
        from torch import nn
        from qmodels.training import arithmetic, loop

        torch.set_num_threads(2)
        for precision, width in product(("float32", "bfloat16"), (4, 8, 12)):
            device = torch.device("cpu")
            order = loop.memory_format(width, device)
            shortcut = nn.Conv2d(width, 2 * width, 1, stride=2, bias=False).to(memory_format=order)
            for _ in range(20):
                images = torch.randn(25, width, 32, 32).contiguous(memory_format=order)
                with arithmetic.context(precision, device):
                    out = shortcut(images)
                grown = torch.randn_like(out)
                shortcut.zero_grad()
                out.backward(grown)
            expected = torch.einsum("nohw,nihw->oi", grown.double(), images[..., ::2, ::2].double())
            error = (shortcut.weight.grad[..., 0, 0] - expected).norm() / expected.norm()
            assert error < 0.01, (precision, width, error)
    """
    for isa in ("ALL", "AVX2"):
        child = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, "ONEDNN_MAX_CPU_ISA": isa, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
        )
        assert child.returncode == 0, child.stderr
