"""Images in whatever holds them, read in batches. A second."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from qmodels import Network
from qmodels.network import images
from tests import outside

PIXELS, LABELS = outside.images(60)


class Counted:
    """Images that count how many of them were read, and never as one."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, position: int) -> Any:
        self.reads += 1
        return PIXELS[position].numpy()


@pytest.mark.parametrize(
    "holder",
    [
        PIXELS,
        PIXELS.numpy(),
        Counted(),
        TensorDataset(PIXELS, LABELS),
        Subset(TensorDataset(PIXELS, LABELS), range(60)),
    ],
    ids=["tensor", "array", "sequence", "data set", "subset"],
)
def test_every_holder_gives_the_same_images(holder: Any) -> None:
    assert torch.equal(images.read(holder, [7, 3]), PIXELS[[7, 3]])
    assert torch.equal(torch.cat(list(images.batches(holder, 25))), PIXELS)
    network = Network("n", outside.trained(), holder, (holder, LABELS))
    assert torch.equal(network.calibration_images, PIXELS)
    assert network.input_shape == (1, 20, 24)


def test_an_array_on_disk_is_read_where_it_is_asked(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PIXELS.numpy())
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert torch.equal(images.read(mapped, range(2)), PIXELS[:2])


def test_images_are_read_when_they_are_needed() -> None:
    counted = Counted()
    network = Network("n", outside.trained(), lambda: counted, lambda: (counted, LABELS))
    assert network.sha256
    assert counted.reads == 0
    assert len(network.test_images) == 60
    next(images.batches(network.test_images, 10))
    assert counted.reads == 10


def test_a_batch_of_large_images_has_fewer() -> None:
    assert images.batch_size((3, 32, 32)) == images.MOST_IMAGES
    assert images.batch_size((3, 224, 224)) == 27
    assert images.batch_size((3, 10_000, 10_000)) == 1


def test_of_many_images_a_thousand_calibrate_from_first_to_last() -> None:
    many = torch.arange(2500.0).reshape(-1, 1, 1, 1)
    values = Network("n", outside.trained(), many, (many, LABELS)).calibration_images.flatten()
    assert len(values) == 1000
    assert values[0] == 0
    assert values[-1] >= 2497
    assert len(values.diff().unique()) <= 2
