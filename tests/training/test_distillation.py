"""Networks that follow a teacher."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qmodels.data import Dataset
from qmodels.network import evaluation
from qmodels.system import store
from qmodels.training import checkpoints, loop
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.distributed import Workers
from qmodels.training.job import Job
from qmodels.training.recipes import FINE_TUNING, RECIPES

pytestmark = pytest.mark.usefixtures("own_cache", "three_blocks")


def test_distillation_is_the_divergence_from_the_softened_teacher() -> None:
    logits, teacher_logits = torch.randn(5, 10), torch.randn(5, 10)
    soft, target = (torch.softmax(x / 4, dim=1) for x in (logits, teacher_logits))
    expected = 16 * (target * (target / soft).log()).sum()
    torch.testing.assert_close(loop.distillation_loss(logits, teacher_logits, 4.0), expected)
    assert float(loop.distillation_loss(logits, logits, 4.0)) == pytest.approx(0, abs=1e-5)


def test_distilling_brings_a_network_nearer_to_its_teacher(
    few: Dataset, parent: Checkpoint
) -> None:
    """With and without the teacher, the same steps from the same weights."""
    teacher = checkpoints.load_model(parent)
    images = few.test.images
    few = few.with_train(few.train.first(100))
    expected = evaluation.predict(teacher, few.normalized(images))
    distances = []
    for name in ("distill", "fine-tune"):
        recipe = replace(FINE_TUNING[name].with_epochs(3), batch_size=25)
        trained = loop.train(
            Job(
                few,
                "resnet34",
                8,
                recipe,
                parent=parent,
                quantization_aware=True,
            )
        )
        logits = evaluation.predict(checkpoints.load_model(trained), few.normalized(images))
        distances.append(float(loop.distillation_loss(logits, expected, 4.0)))
    assert distances[0] < distances[1]


@pytest.fixture
def mistaken(parent: Checkpoint) -> Checkpoint:
    """A teacher that takes each digit for the next one: no label says what it does."""
    model = checkpoints.load_model(parent)
    state = {
        name: value.roll(1, 0) if name.startswith("head.fc.") else value
        for name, value in model.state_dict().items()
    }
    description = replace(parent, file="mistaken.safetensors", folder=store.cache_dir("teachers"))
    return checkpoints.save(state, description)


def predicted(checkpoint: Checkpoint, digits: Dataset) -> Tensor:
    """The classes of all test images."""
    model = checkpoints.load_model(checkpoint)
    return evaluation.predict(model, digits.normalized(digits.test.images)).argmax(1)


WORKERS = Workers(0, 1, torch.device("cpu"))
# An epoch of digits is a sixtieth of one of the recipe's: smaller batches make more steps of it.
DISTILLED = replace(RECIPES["distilled"].with_epochs(2), batch_size=16, peak_rate=0.05, cutmix=0.0)


def test_from_scratch_a_network_follows_the_teacher_that_is_named(
    digits: Dataset, mistaken: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = loop.train(Job(digits, "resnet34", 8, DISTILLED, teacher=mistaken))
    assert trained.parent is None
    assert trained.teacher == mistaken.sha256
    assert checkpoints.read_index(trained.folder) == [trained]
    got = predicted(trained, digits)
    assert (got == predicted(mistaken, digits)).float().mean() > 0.5
    assert (got == digits.test.labels).float().mean() < 0.2
    monkeypatch.setattr(checkpoints, "shipped_dirs", lambda: ())
    assert checkpoints.find("resnet34", 8, "digits") == trained


def test_a_named_teacher_comes_before_the_parent(
    digits: Dataset, few: Dataset, parent: Checkpoint, mistaken: Checkpoint
) -> None:
    # At a rate that teaches something within three epochs, frozen statistics would make it diverge.
    recipe = replace(
        FINE_TUNING["distill"].with_epochs(3), batch_size=16, peak_rate=0.05, batch_norm_until=1.0
    )
    job = Job(digits, "resnet34", 8, recipe, parent=parent)
    alone = loop.train(replace(job, dataset=few))
    taught = loop.train(replace(job, seed=1, teacher=mistaken))
    assert (alone.parent, alone.teacher) == (parent.sha256, None)
    assert (taught.parent, taught.teacher) == (parent.sha256, mistaken.sha256)
    for trained, teacher in ((alone, parent), (taught, mistaken)):
        agreed = predicted(trained, digits) == predicted(teacher, digits)
        assert agreed.float().mean() > 0.9


def test_another_teacher_is_another_training(
    digits: Dataset, parent: Checkpoint, mistaken: Checkpoint
) -> None:
    job = Job(digits, "resnet34", 8, DISTILLED)
    expected, other = (replace(job, teacher=teacher).description for teacher in (parent, mistaken))
    assert expected != other
    assert loop.state_path(expected, WORKERS) != loop.state_path(other, WORKERS)
