import multiprocessing
import multiprocessing.process
import os
import random
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from qmodels import checkpoints, data, evaluation, store, training
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset, Split
from qmodels.errors import UserError
from qmodels.recipes import FINE_TUNING, RECIPES, Recipe, Stage
from qmodels.training import Job, augmentation, loop

QUICK = Recipe("quick", (Stage(1, 16), Stage(2, 32)), batch_size=100, peak_rate=0.1, warmup=0.3)
# All that training from scratch can do.
EVERYTHING = replace(
    RECIPES["default"], name="everything", stages=(Stage(4, 16),), batch_size=50, peak_rate=0.05
)


def train_few(cache: Path) -> None:
    """Run in a process of its own: four short epochs on four hundred digits."""
    os.environ["QMODELS_CACHE_DIR"] = str(cache)
    torch.set_num_threads(1)
    whole = data.load("digits")
    split = Split(whole.train.images[:400], whole.train.labels[:400])
    training.train(Job(replace(whole, train=split), "resnet34", 4, EVERYTHING))


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    """Four hundred images: an epoch takes a second."""
    return replace(digits, train=Split(digits.train.images[:400], digits.train.labels[:400]))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    return tmp_path


def losses(cache: Path) -> list[float]:
    """The loss of each epoch, from the one log in a cache."""
    (log,) = (cache / "training").glob("*.log")
    return [float(loss) for loss in re.findall(r"loss ([\d.]+)", log.read_text())]


def weights(cache: Path) -> dict[str, Tensor]:
    (file,) = (cache / "checkpoints").glob("*.safetensors")
    return load_file(file)


def test_training_learns_records_and_cleans_up(few: Dataset, own_cache: Path) -> None:
    recipe = replace(QUICK, stages=(Stage(6, 32),), batch_size=25)
    trained = training.train(Job(few, "resnet34", 8, recipe))
    assert trained == checkpoints.named(trained.path.stem)
    assert (trained.recipe, trained.seed) == (recipe, 0)
    assert trained.top1 > 60
    logits = evaluation.predict(checkpoints.load_model(trained), few, few.test.images)
    assert evaluation.accuracy(logits, few.test) == (trained.top1, trained.top5_error)
    log = next((own_cache / "training").glob("*.log")).read_text().splitlines()
    assert len(log) == 7
    assert "epoch 6/6" in log[5]
    assert not list((own_cache / "training").glob("*.safetensors"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for index, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / str(index)))
        recipe = EVERYTHING.lasting(1)
        digests.append(training.train(Job(few, "preact_resnet34", 4, recipe, seed)).sha256)
    assert digests[0] == digests[1] != digests[2]


def test_what_was_trained_is_not_trained_again(few: Dataset, own_cache: Path) -> None:
    job = Job(few, "resnet34", 4, EVERYTHING.lasting(1))
    trained = training.train(job)
    stamp = trained.path.stat().st_mtime_ns
    assert training.train(job) == trained
    assert trained.path.stat().st_mtime_ns == stamp
    trained.path.unlink()
    assert training.train(job) == trained
    assert trained.path.stat().st_mtime_ns > stamp


def test_jobs_that_differ_have_files_that_differ(
    few: Dataset, digits_checkpoint: Checkpoint
) -> None:
    parent = digits_checkpoint
    jobs = [
        Job(few, "resnet34", 8, QUICK),
        Job(few, "resnet34", 8, QUICK, seed=1),
        Job(few, "resnet34", 4, QUICK),
        Job(few, "preact_resnet34", 4, QUICK),
        Job(few, "resnet34", 8, QUICK, parent=parent),
        Job(few, "resnet34", 8, QUICK, parent=parent, quantization_aware=True),
        Job(few, "resnet34", 8, replace(QUICK, name="other"), parent=parent),
        Job(data.for_tuning(few), "resnet34", 8, QUICK),
    ]
    assert len({job.name for job in jobs}) == len(jobs)


# Killed.


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
        patch.setenv("QMODELS_CACHE_DIR", str(tmp_path_factory.mktemp("undisturbed")))
        return training.train(Job(few, "resnet34", 4, EVERYTHING.lasting(2)))


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
    job = Job(few, "resnet34", 4, EVERYTHING.lasting(2))
    dying[:] = [write, after]
    with pytest.raises(Killed):
        training.train(job)
    resumed = training.train(job)
    assert resumed.sha256 == undisturbed.sha256
    assert resumed.top1 == undisturbed.top1
    assert checkpoints.read_index(resumed.folder) == [resumed]
    # What was saved is not trained again; the line of an epoch is written after its state.
    assert len(losses(own_cache)) == (2 if write > 2 or not after else 1)


# Refused, or stopped.


def test_a_loss_that_is_not_finite_stops_in_one_line_and_keeps_the_last_epoch(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = augmentation.resize
    calls = 0

    def poisoned(images: Tensor, size: int) -> Tensor:
        nonlocal calls
        calls += 1
        return original(images, size) * (float("nan") if calls > 4 else 1)  # from the second epoch

    monkeypatch.setattr(augmentation, "resize", poisoned)
    with pytest.raises(UserError, match="loss of epoch 2 is nan; epoch 1 is kept") as caught:
        training.train(Job(few, "resnet34", 4, QUICK))
    assert "\n" not in str(caught.value)
    state = next((own_cache / "training").glob("*.safetensors"))
    assert all(bool(value.isfinite().all()) for value in load_file(state).values())


def test_a_cache_that_is_no_folder_is_one_line(
    few: Dataset, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_cache / "file").write_text("")
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / "file"))
    with pytest.raises(UserError, match="set QMODELS_CACHE_DIR to a folder that can be written"):
        training.train(Job(few, "resnet34", 4, QUICK))


# The recipe is followed.


def test_weight_decay_spares_batch_norms_and_biases(digits_model: nn.Module) -> None:
    decayed, spared = loop.sgd(digits_model, RECIPES["digits"]).param_groups
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    assert {p.dim() for p in spared["params"]} == {1}
    assert spared["weight_decay"] == 0 < decayed["weight_decay"]


def test_batch_norms_and_ranges_are_frozen_when_the_recipe_says(
    few: Dataset, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded at the end of each epoch of a quantization-aware run."""
    recipe = replace(FINE_TUNING["fine-tune"].lasting(4), stages=(Stage(4, 16),))
    seen: list[tuple[Tensor, Tensor]] = []
    save = loop.state.save

    def keep(path: Path, everything: loop.State, epochs: int) -> None:
        values = everything.model.state_dict()
        means = [v.flatten() for name, v in values.items() if name.endswith("running_mean")]
        scales = [v.flatten() for name, v in values.items() if name.endswith("scale")]
        seen.append((torch.cat(means), torch.cat(scales)))
        save(path, everything, epochs)

    monkeypatch.setattr(loop.state, "save", keep)
    job = Job(few, "resnet34", 8, recipe, parent=digits_checkpoint, quantization_aware=True)
    training.train(job)
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
        recipe = replace(EVERYTHING, averaging=averaging).lasting(2)
        training.train(Job(few, "resnet34", 4, recipe))
    assert losses(own_cache / "last") == losses(own_cache / "averaged")
    last, averaged = weights(own_cache / "last"), weights(own_cache / "averaged")
    assert not torch.equal(last["stem.conv.weight"], averaged["stem.conv.weight"])


def test_distillation_is_the_divergence_from_the_softened_teacher() -> None:
    ours, theirs = torch.randn(5, 10), torch.randn(5, 10)
    soft, target = (torch.softmax(logits / 4, dim=1) for logits in (ours, theirs))
    expected = 16 * (target * (target / soft).log()).sum()
    torch.testing.assert_close(loop.distillation(ours, theirs, 4.0), expected)
    assert float(loop.distillation(ours, ours, 4.0)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("quantization_aware", [False, True])
def test_distilling_brings_a_network_nearer_to_its_teacher(
    quantization_aware: bool, few: Dataset, digits_checkpoint: Checkpoint
) -> None:
    """With and without the teacher, the same steps from the same weights."""
    teacher = checkpoints.load_model(digits_checkpoint)
    images = few.test.images
    few = replace(few, train=Split(few.train.images[:200], few.train.labels[:200]))
    expected = evaluation.predict(teacher, few, images)
    distances = []
    for name in ("distill", "fine-tune"):
        recipe = replace(FINE_TUNING[name].lasting(3), batch_size=50)
        trained = training.train(
            Job(
                few,
                "resnet34",
                8,
                recipe,
                parent=digits_checkpoint,
                quantization_aware=quantization_aware,
            )
        )
        logits = evaluation.predict(checkpoints.load_model(trained), few, images)
        distances.append(float(loop.distillation(logits, expected, 4.0)))
    assert distances[0] < distances[1]


def fit_at_most(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """A device whose memory runs out when more images pass at a time."""
    original = functional.cross_entropy

    def small(logits: Tensor, *arguments: object, **options: object) -> Tensor:
        if len(logits) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(logits, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.functional, "cross_entropy", small)


def test_out_of_memory_training_goes_on_to_the_same_loss(
    few: Dataset,
    digits_checkpoint: Checkpoint,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Quantization-aware, batch 128, on a device that holds 40 images at a time."""
    job = Job(
        few,
        "resnet34",
        8,
        FINE_TUNING["fine-tune"].lasting(4),
        parent=digits_checkpoint,
        quantization_aware=True,
    )
    undisturbed = training.train(job)
    fit_at_most(monkeypatch, 40)
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(own_cache / "short"))
    short = training.train(job)
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
    training.train(Job(few, "resnet34", 4, replace(QUICK, stages=(Stage(1, 16),))))
    (log,) = (own_cache / "training").glob("*.log")
    assert (
        "out of memory: going on with 50 images at a time; batch norm sees those instead of 100"
        in log.read_text()
    )


def test_a_log_that_can_not_be_written_is_one_line(few: Dataset, own_cache: Path) -> None:
    job = Job(few, "resnet34", 4, QUICK.lasting(2))
    log = loop.state_path(
        job.description(loop.precision(job, torch.device("cpu"))),
        loop.Workers(0, 1, torch.device("cpu")),
    ).with_suffix(".log")
    log.mkdir(parents=True)
    with pytest.raises(UserError, match="can't be written .Is a directory."):
        training.train(job)


def test_store_and_random_are_untouched(few: Dataset, own_cache: Path) -> None:
    """Training draws from a generator of its own: what runs after it is not changed."""
    torch.manual_seed(5)
    random.seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training.train(Job(few, "resnet34", 4, replace(QUICK, stages=(Stage(1, 16),))))
    assert torch.equal(torch.rand(3), expected)
    assert store.cache_dir("training").exists()
