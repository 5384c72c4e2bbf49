"""Packaged images: tiles, checksums, and where the digits come from. 2 seconds."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qmodels import data
from qmodels.data import cifar100, digits, pack, packaged
from qmodels.system.errors import UserError


@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    tile=st.sampled_from([8, 32]),
)
@settings(max_examples=20, deadline=None)
def test_tiles_come_out_as_they_went_in(rows: int, columns: int, channels: int, tile: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    shape = (rows * columns, channels, tile, tile)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    picture = pack.tile(images, columns)
    assert picture.shape[:2] == (rows * tile, columns * tile)
    assert torch.equal(packaged.untile(picture, tile), images)


def test_packaged_digits_are_those_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    source = pack.read_digits()
    split = packaged.read(digits.PACKAGED / "digits.png", digits.TILE, digits.SHA256)
    assert torch.equal(split.images, source.images)
    assert torch.equal(split.labels, source.labels)
    assert split.images.max() == digits.WHITE


FILES = [(module, name) for module in (cifar100, digits) for name in module.SHA256]


@pytest.fixture(params=FILES, ids=lambda case: case[1])
def copied(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    """A data set, and one of its packaged files in a copy, which the test may damage."""
    module, name = request.param
    folder = tmp_path / "files"
    shutil.copytree(module.PACKAGED, folder)
    monkeypatch.setattr(module, "PACKAGED", folder)
    return module.__name__.rpartition(".")[2], folder / name


def test_a_damaged_file_is_named(copied: tuple[str, Path]) -> None:
    dataset, path = copied
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged.*restore it from git") as caught:
        data.load(dataset)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(copied: tuple[str, Path]) -> None:
    dataset, path = copied
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing: restore it from git"):
        data.load(dataset)
