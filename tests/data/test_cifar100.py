"""CIFAR-100, packaged and downloaded. 5 seconds with the training split, 2 without."""

from pathlib import Path

import pytest
import torch

from qmodels import data
from qmodels.data import cifar100
from qmodels.data.dataset import CALIBRATION_IMAGES, Dataset
from qmodels.system.errors import UserError


@pytest.fixture(scope="module")
def packaged() -> Dataset:
    return data.load("cifar100")


def test_the_package_has_the_test_split_and_calibration_images(packaged: Dataset) -> None:
    assert packaged.test.images.shape == (10_000, 3, 32, 32)
    assert packaged.test.images.dtype == torch.uint8
    assert packaged.test.labels.bincount().tolist() == [100] * 100
    assert packaged.calibration.images.shape == (1000, 3, 32, 32)
    assert packaged.calibration.labels.bincount().tolist() == [10] * 100
    normalized = packaged.normalize(packaged.test.images)
    assert normalized.mean().item() == pytest.approx(0, abs=0.02)
    assert normalized.std().item() == pytest.approx(1, abs=0.02)


def test_packaged_images_are_those_of_the_data_set(
    packaged: Dataset, cifar100_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_DATA_DIR", str(cifar100_dir))
    test = cifar100.read_downloaded(train=False)
    assert torch.equal(packaged.test.images, test.images)
    assert torch.equal(packaged.test.labels, test.labels)
    assert packaged.train.images.shape == (50_000, 3, 32, 32)
    calibration = data.stratified_subset(packaged.train, CALIBRATION_IMAGES)
    assert torch.equal(packaged.calibration.images, calibration.images)
    assert torch.equal(packaged.calibration.labels, calibration.labels)


def test_a_training_split_that_cannot_be_downloaded_is_one_line(
    packaged: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("QMODELS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(UserError, match="QMODELS_DATA_DIR") as caught:
        packaged.load_train()
    assert "no route to host" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_training_split_of_something_else_is_named(
    packaged: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / cifar100.DOWNLOADED
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(b"a pickle that must not be read")
    monkeypatch.setenv("QMODELS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match="is not CIFAR-100, or damaged") as caught:
        packaged.load_train()
    assert str(folder) in str(caught.value)
