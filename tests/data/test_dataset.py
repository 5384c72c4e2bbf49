from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qmodels import data
from qmodels.data import selection
from qmodels.data.dataset import Dataset
from qmodels.system.errors import UserError


def test_digits_are_whole_and_split_without_overlap(digits: Dataset) -> None:
    assert digits.train.images.shape == (1201, 3, 32, 32)
    assert digits.test.images.shape == (596, 3, 32, 32)
    assert digits.train.images.dtype == torch.uint8
    assert int(digits.train.labels.bincount().min()) >= 115
    train = {image.numpy().tobytes() for image in digits.train.images}
    test = {image.numpy().tobytes() for image in digits.test.images}
    assert not train & test


def test_normalized_training_images_have_mean_0_and_variance_1(digits: Dataset) -> None:
    normalized = digits.normalize(digits.train.images)
    assert normalized.mean().item() == pytest.approx(0, abs=1e-3)
    assert normalized.std().item() == pytest.approx(1, abs=1e-3)


def test_auto_is_digits_without_cifar100_and_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(selection, "CIFAR100_HOST", ("127.0.0.1", 9))
    choice = data.choose("auto")
    assert choice.name == "digits"
    assert str(tmp_path) in choice.reason


def test_auto_is_cifar100_where_it_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    monkeypatch.setenv("QMODELS_DATA_DIR", str(tmp_path))
    assert data.choose("auto") == data.Choice("cifar100", f"found in {tmp_path}")


def test_cifar100_that_cannot_be_had_is_one_line_and_no_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("QMODELS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(UserError, match="QMODELS_DATA_DIR") as caught:
        data.load("cifar100")
    assert "no route to host" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_cifar100_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    (folder / "train").write_bytes(b"half a file")
    monkeypatch.setenv("QMODELS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match="damaged"):
        data.load("cifar100")


def test_cifar100_is_read_as_torchvision_has_it(
    cifar100_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_DATA_DIR", str(cifar100_dir))
    dataset = data.load("cifar100")
    assert dataset.train.images.shape == (50_000, 3, 32, 32)
    assert dataset.test.labels.bincount().tolist() == [100] * 100
    normalized = dataset.normalize(dataset.train.images[:10_000])
    assert normalized.mean().item() == pytest.approx(0, abs=0.02)
    assert normalized.std().item() == pytest.approx(1, abs=0.02)


def test_unknown_data_set_is_refused() -> None:
    with pytest.raises(UserError, match="'imagenet': choose one of auto, cifar100, digits"):
        data.load("imagenet")


@given(count=st.integers(1, 1201), seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_subsets_are_stratified_and_repeatable(count: int, seed: int) -> None:
    split = data.load("digits").train
    subset = data.stratified_subset(split, count, seed=seed)
    again = data.stratified_subset(split, count, seed=seed)
    assert len(subset) == count
    assert torch.equal(subset.images, again.images)
    available = split.labels.bincount(minlength=10)
    drawn = subset.labels.bincount(minlength=10)
    # Equal shares, but for classes that have run out.
    short_of = drawn < drawn.max() - 1
    assert torch.equal(drawn[short_of], available[short_of])


@pytest.mark.parametrize("count", [0, -1, 1202])
def test_a_subset_larger_than_the_split_is_refused(digits: Dataset, count: int) -> None:
    with pytest.raises(UserError, match="choose from 1 to 1201"):
        data.stratified_subset(digits.train, count)
