import multiprocessing
import multiprocessing.process
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qmodels import checkpoints, data, store, training
from qmodels.data import Dataset, Split
from qmodels.errors import UserError
from qmodels.training import RECIPES, Recipe, Stage

QUICK = Recipe("quick", (Stage(1, 16), Stage(2, 32)), batch_size=100, peak_rate=0.1, warmup=0.3)


def train_few(cache: Path) -> None:
    """Run in a process of its own: four short epochs on four hundred digits."""
    os.environ["QMODELS_CACHE_DIR"] = str(cache)
    torch.set_num_threads(1)
    whole = data.load("digits")
    split = Split(whole.train.images[:400], whole.train.labels[:400])
    recipe = replace(QUICK, stages=(Stage(4, 16),), batch_size=50)
    training.train(replace(whole, train=split), "resnet34", 4, recipe)


@pytest.fixture
def few(digits: Dataset) -> Dataset:
    """Four hundred images: an epoch takes a second."""
    return replace(digits, train=Split(digits.train.images[:400], digits.train.labels[:400]))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_a_recipe_knows_its_image_size_and_rate() -> None:
    assert QUICK.epochs == 3
    assert [QUICK.image_size(epoch) for epoch in range(3)] == [16, 32, 32]
    rates = [QUICK.rate(step, 10) for step in range(10)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 2
    assert rates[:3] == sorted(rates[:3])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert 0 < rates[-1] < 0.02
    assert RECIPES["report"].rate(5, 10) == RECIPES["report"].rate(9, 10) == 0.1


@pytest.mark.parametrize("mirrors", [False, True])
def test_augmentation_crops_the_reflected_image_and_mirrors_only_where_it_may(
    digits: Dataset, mirrors: bool
) -> None:
    dataset = replace(digits, mirrors=mirrors, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    images = torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8)
    recipe = replace(QUICK, crop_padding=2)
    drawn = training.augment(dataset, images, recipe, 32, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect")
    mirrored = 0
    for image, got in zip(padded, drawn, strict=True):
        crops = [image[:, t : t + 32, left : left + 32] for t in range(5) for left in range(5)]
        plain = any(torch.equal(crop, got) for crop in crops)
        flipped = any(torch.equal(crop.flip(2), got) for crop in crops)
        assert plain or flipped
        mirrored += flipped
    assert (mirrored > 5) == mirrors


def test_training_learns_records_and_cleans_up(few: Dataset, own_cache: Path) -> None:
    recipe = replace(QUICK, stages=(Stage(6, 32),), batch_size=25)
    trained = training.train(few, "resnet34", 8, recipe)
    assert trained == checkpoints.find("resnet34", 8, "digits")
    assert (trained.recipe, trained.epochs, trained.seed) == ("quick", 6, 0)
    assert trained.top1 > 60
    logits = training.predict(checkpoints.load_model(trained), few, few.test.images)
    assert training.accuracy(logits, few.test) == (trained.top1, trained.top5_error)
    log = next((own_cache / "training").glob("*.log")).read_text().splitlines()
    assert len(log) == 7
    assert "epoch 6/6" in log[5]
    assert not list((own_cache / "training").glob("*.safetensors"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(QUICK, stages=(Stage(1, 16),))
    digests = []
    for index, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / str(index)))
        digests.append(training.train(few, "preact_resnet34", 4, recipe, seed=seed).sha256)
    assert digests[0] == digests[1] != digests[2]


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

    def weights(cache: str) -> dict[str, torch.Tensor]:
        return load_file(next((own_cache / cache / "checkpoints").glob("*.safetensors")))

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
    log = next((own_cache / "killed" / "training").glob("*.log")).read_text()
    assert log.count("epoch 1/") == 1, "it started again instead of going on"
    resumed = weights("killed")
    assert all(torch.equal(value, resumed[name]) for name, value in weights("undisturbed").items())


def test_a_loss_that_is_not_finite_stops_in_one_line_and_keeps_the_last_epoch(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = training.augment
    calls = 0

    def poisoned(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        images: torch.Tensor = original(*arguments)  # type: ignore[arg-type]
        return images * float("nan") if calls > 4 else images  # from the second epoch

    monkeypatch.setattr(training, "augment", poisoned)
    with pytest.raises(UserError, match="loss of epoch 2 is nan; epoch 1 is kept") as caught:
        training.train(few, "resnet34", 4, QUICK)
    assert "\n" not in str(caught.value)
    state = next((own_cache / "training").glob("*.safetensors"))
    assert all(bool(value.isfinite().all()) for value in load_file(state).values())


def test_a_damaged_state_is_refused_in_one_line(few: Dataset, own_cache: Path) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = training.sgd(model, QUICK)
    path = own_cache / "state.safetensors"
    assert training.restore(path, model, optimizer) == 0
    model(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    training.save_state(path, model, optimizer, epochs=3)
    assert training.restore(path, model, optimizer) == 3
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="damaged: delete it"):
        training.restore(path, model, optimizer)


def test_weight_decay_spares_batch_norms_and_biases(digits_model: torch.nn.Module) -> None:
    decayed, spared = training.sgd(digits_model, RECIPES["digits"]).param_groups
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    assert {p.dim() for p in spared["params"]} == {1}
    assert spared["weight_decay"] == 0 < decayed["weight_decay"]


def test_accuracy_counts_what_is_defined() -> None:
    labels = torch.tensor([0, 1, 2, 6])
    logits = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3]] * 4)
    split = Split(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), labels)
    assert training.accuracy(logits, split) == (25.0, 25.0)


def test_of_equal_logits_the_first_class_wins_wherever_it_is_counted() -> None:
    logits = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]])
    ranks = training.ranks(logits, torch.tensor([0, 1, 2, 2]))
    assert ranks.tolist() == [0, 1, 1, 2]
    assert (ranks == 0).tolist() == (logits.argmax(dim=1) == torch.tensor([0, 1, 2, 2])).tolist()


def test_without_a_checkpoint_the_line_says_what_to_run(digits: Dataset) -> None:
    cifar100 = replace(digits, name="cifar100")
    with pytest.raises(UserError, match="qmodels train --dataset cifar100 .*--width 48"):
        training.find_or_train(cifar100, "resnet34", 48)


def test_digits_are_trained_where_no_checkpoint_is(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "digits", QUICK)
    assert checkpoints.find("preact_resnet34", 4, "digits") is None
    trained = training.find_or_train(few, "preact_resnet34", 4)
    assert trained.folder == store.cache_dir("checkpoints")
    assert training.find_or_train(few, "preact_resnet34", 4) == trained
