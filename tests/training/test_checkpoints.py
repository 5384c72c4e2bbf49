import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qmodels import data, gate
from qmodels.gate import Key
from qmodels.network import evaluation, resnet
from qmodels.quantize import fake_quantize
from qmodels.system import store
from qmodels.system.errors import UserError
from qmodels.training import checkpoints, networks
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.recipes import RECIPES

BASELINES = Path(__file__).parents[2] / "baselines"
DESCRIPTION = Checkpoint(
    file="tiny.safetensors",
    architecture="resnet34",
    width=4,
    dataset="digits",
    classes=10,
    recipe=RECIPES["digits"],
    seed=0,
    precision="float32",
    top1=90.0,
    top5_error=1.0,
    sha256="",
    folder=Path(),
)


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoint:
    model = resnet.build("resnet34", 4, 10)
    description = dataclasses.replace(DESCRIPTION, folder=tmp_path)
    return checkpoints.save(model.state_dict(), description)


def test_what_is_saved_comes_back_within_float16(tmp_path: Path) -> None:
    model = resnet.build("resnet34", 4, 10)
    saved = checkpoints.save(model.state_dict(), dataclasses.replace(DESCRIPTION, folder=tmp_path))
    loaded = checkpoints.load_model(saved)
    assert not loaded.training
    for name, value in model.state_dict().items():
        back = loaded.state_dict()[name]
        assert back.dtype == value.dtype
        expected = value.half().float() if value.dim() > 1 else value
        assert torch.equal(back, expected), name


def test_statistics_beyond_float16_survive(tmp_path: Path) -> None:
    state = resnet.build("resnet34", 4, 10).state_dict()
    state["stem.bn.running_var"] = torch.tensor([1e-30, 1e30, 1.0, 70_000.0])
    saved = checkpoints.save(state, dataclasses.replace(DESCRIPTION, folder=tmp_path))
    loaded = checkpoints.load_model(saved).state_dict()
    assert torch.equal(loaded["stem.bn.running_var"], state["stem.bn.running_var"])


def test_the_index_keeps_others_and_replaces_the_same(saved: Checkpoint) -> None:
    state = checkpoints.load_model(saved).state_dict()
    checkpoints.save(state, dataclasses.replace(saved, file="other.safetensors", seed=1))
    checkpoints.save(state, dataclasses.replace(saved, top1=91.0))
    index = checkpoints.read_index(saved.folder)
    assert [(checkpoint.file, checkpoint.top1) for checkpoint in index] == [
        ("other.safetensors", 90.0),
        ("tiny.safetensors", 91.0),
    ]


@pytest.fixture
def in_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """The description of the shipped digits' network, as of an empty cache."""
    shipped = checkpoints.find("resnet34", 8, "digits")
    assert shipped is not None
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    return dataclasses.replace(shipped, folder=store.cache_dir("checkpoints"))


def test_what_was_trained_here_does_not_replace_a_shipped_one_and_can_be_named(
    in_cache: Checkpoint,
) -> None:
    shipped = checkpoints.find("resnet34", 8, "digits")
    mine = dataclasses.replace(in_cache, file="mine.safetensors", seed=5)
    mine = checkpoints.save(resnet.build("resnet34", 8, 10).state_dict(), mine)
    assert checkpoints.find("resnet34", 8, "digits") == shipped
    assert checkpoints.resolve("mine") == mine


def test_a_name_of_two_checkpoints_asks_for_a_path(in_cache: Checkpoint) -> None:
    shipped = checkpoints.find("resnet34", 8, "digits")
    assert shipped is not None
    mine = checkpoints.save(resnet.build("resnet34", 8, 10).state_dict(), in_cache)
    with pytest.raises(UserError, match=f"is the name of {shipped.path} and {mine.path}: give a"):
        checkpoints.resolve(shipped.path.stem)
    assert checkpoints.resolve(str(mine.path)) == mine
    assert checkpoints.resolve(str(shipped.path)) == shipped


def test_a_checkpoint_of_any_folder_is_named_by_its_path_and_has_its_sibling_there(
    saved: Checkpoint,
) -> None:
    state = checkpoints.load_model(saved).state_dict()
    sibling = dataclasses.replace(
        saved, file="aware.safetensors", parent=saved.sha256, quantization_aware=True
    )
    sibling = checkpoints.save(state, sibling)
    assert checkpoints.resolve(str(saved.path)) == saved
    assert checkpoints.find_quantization_aware(saved) == sibling


def test_an_index_of_a_later_format_is_refused_in_one_line(saved: Checkpoint) -> None:
    index = saved.folder / checkpoints.INDEX
    index.write_text(index.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(UserError, match="has format 2, and this qmodels reads 1: use"):
        checkpoints.read_index(saved.folder)


def test_a_quantization_aware_checkpoint_comes_back_with_its_ranges(tmp_path: Path) -> None:
    model = fake_quantize.prepare(resnet.build("resnet34", 4, 10))
    model(resnet.random_images(4))
    fake_quantize.observe(model, enabled=False)
    description = dataclasses.replace(
        DESCRIPTION, folder=tmp_path, quantization_aware=True, parent="abc"
    )
    loaded = checkpoints.load_model(checkpoints.save(model.state_dict(), description))
    expected = fake_quantize.from_levels(fake_quantize.to_levels(model.state_dict()))
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_siblings_are_found_by_their_parent_and_never_instead_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    folder = store.cache_dir("checkpoints")
    state = resnet.build("resnet34", 4, 10).state_dict()
    parent = checkpoints.save(state, dataclasses.replace(DESCRIPTION, folder=folder))
    control = dataclasses.replace(parent, file="control.safetensors", parent=parent.sha256)
    checkpoints.save(state, control)
    assert checkpoints.find_quantization_aware(parent) is None
    aware = dataclasses.replace(control, file="aware.safetensors", quantization_aware=True)
    sibling = checkpoints.save(state, aware)
    assert checkpoints.find_quantization_aware(parent) == sibling
    assert checkpoints.find("resnet34", 4, "digits") == parent
    other = dataclasses.replace(parent, sha256="of other weights")
    assert checkpoints.find_quantization_aware(other) is None


def test_a_checkpoint_is_named_by_its_file_with_or_without_suffix_or_path() -> None:
    shipped = checkpoints.find("resnet34", 8, "digits")
    assert shipped is not None
    for name in (shipped.file, shipped.path.stem, str(shipped.path)):
        assert checkpoints.resolve(name) == shipped
    with pytest.raises(UserError, match="no checkpoint 'resnet50': choose one of .*digits-resnet"):
        checkpoints.resolve("resnet50")


def shipped_checkpoints() -> list[Checkpoint]:
    """Of the package, and of this checkout."""
    return [
        known for folder in checkpoints.shipped_dirs() for known in checkpoints.read_index(folder)
    ]


def test_every_shipped_network_has_its_quantization_aware_sibling() -> None:
    shipped = shipped_checkpoints()
    for checkpoint in shipped:
        if checkpoint.parent is None:
            assert checkpoints.find_quantization_aware(checkpoint) in shipped, checkpoint.file


def test_the_shipped_index_is_what_saving_writes(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    packaged, *_ = checkpoints.shipped_dirs()
    shutil.copytree(packaged, folder)
    last = checkpoints.read_index(folder)[-1]
    assert checkpoints.save(load_file(last.path), last) == last
    shipped = (packaged / checkpoints.INDEX).read_bytes()
    assert (folder / checkpoints.INDEX).read_bytes() == shipped


def test_no_checkpoint_is_none() -> None:
    assert checkpoints.find("preact_resnet34", 3, "cifar100") is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "deleted", "other weights"])
def test_a_damaged_file_is_refused_in_one_line(saved: Checkpoint, damage: str) -> None:
    content = saved.path.read_bytes()
    if damage == "truncated":
        saved.path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        saved.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "deleted":
        saved.path.unlink()
    else:
        save_file({"weight": torch.zeros(3)}, saved.path)
        saved = dataclasses.replace(saved, sha256=store.digest_file(saved.path))
    with pytest.raises(UserError, match="train again") as caught:
        checkpoints.load_model(saved)
    assert str(saved.path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[", '[{"file": "x"}]', "3"])
def test_a_damaged_index_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / checkpoints.INDEX).write_text(content)
    with pytest.raises(UserError, match=f"{checkpoints.INDEX}: .*: restore it, or delete it and"):
        checkpoints.read_index(tmp_path)


@pytest.mark.parametrize("checkpoint", shipped_checkpoints(), ids=lambda c: c.file)
def test_shipped_checkpoints_are_whole_and_compact(checkpoint: Checkpoint) -> None:
    model = checkpoints.load_model(checkpoint)
    weights = [v for v in load_file(checkpoint.path).values() if v.dim() > 1]
    compact = torch.int8 if checkpoint.quantization_aware else torch.float16
    assert {weight.dtype for weight in weights} == {compact}
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())


def test_the_shipped_digits_score_what_the_index_says(digits_checkpoint: Checkpoint) -> None:
    digits = data.load("digits")
    model = checkpoints.load_model(digits_checkpoint)
    logits = evaluation.predict(model, digits.normalized(digits.test.images))
    top1, top5_error = evaluation.accuracy(logits, digits.test.labels)
    one_image = 100 / len(digits.test)
    assert top1 == pytest.approx(digits_checkpoint.top1, abs=1.01 * one_image)
    assert top5_error == pytest.approx(digits_checkpoint.top5_error, abs=1.01 * one_image)
    assert top1 > 97


def test_the_shipped_cifar100_network_scores_at_least_65() -> None:
    """Stored runs have the accuracy of all images, and this test that of a tenth of them."""
    shipped = checkpoints.find("resnet34", 16, "cifar100")
    assert shipped is not None
    assert shipped.top1 >= 65
    stored = list(BASELINES.glob("*/cifar100-resnet34-w16.json"))
    assert stored
    for path in stored:
        entry = gate.read_run(path).entries[Key(path.stem, "bench_accuracy", "fp32", 250)]
        assert entry.images == 10_000
        assert entry.weights == networks.of_checkpoint(shipped).sha256[:16]
        assert entry.metrics["top1"].value == pytest.approx(shipped.top1, abs=0.05)
    cifar100 = data.load("cifar100")
    logits = evaluation.predict(
        checkpoints.load_model(shipped), cifar100.normalized(cifar100.test.images[::10])
    )
    top1, _ = evaluation.accuracy(logits, cifar100.test.labels[::10])
    # The standard deviation of a thousand images is 1.5 points.
    assert top1 == pytest.approx(shipped.top1, abs=4)


def test_the_index_names_no_folder(saved: Checkpoint) -> None:
    records = json.loads((saved.folder / checkpoints.INDEX).read_text())["checkpoints"]
    assert "folder" not in records[0]
