"""Images that come with the package: lossless pictures of tiles, and files of labels.

A data set has a folder of its files, whose checksums its module knows. A split is a picture of
tiles, row by row, and a file of labels with one byte an image. ``pack.py`` writes them.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from qmodels.data.dataset import Split
from qmodels.system import store
from qmodels.system.errors import UserError


def read(picture: Path, tile: int, checksums: Mapping[str, str]) -> Split:
    """A split that comes with the package, its files verified.

    Args:
        picture: its file; that of the labels lies beside it, with the suffix ``.labels``.
        tile: pixels on a side of an image.
        checksums: SHA-256 by file name.

    Returns:
        Images (N, C, H, W) uint8, of one channel where the picture is grey.

    Raises:
        UserError: a file is missing, damaged or can't be decoded.
    """
    labels = picture.with_suffix(".labels")
    for path in (picture, labels):
        if not path.is_file():
            raise UserError(f"{path} is missing: restore it from git, or install qmodels again")
        if store.digest_file(path) != checksums[path.name]:
            raise UserError(
                f"{path} is damaged (SHA-256 differs): restore it from git, or install qmodels "
                "again"
            )
    try:
        with Image.open(picture) as opened:
            pixels = np.asarray(opened if opened.mode == "L" else opened.convert("RGB"))
    except UnidentifiedImageError:
        raise UserError(
            f"this Pillow can't read {picture.name}: install one with WebP "
            "(pip install --force-reinstall pillow)"
        ) from None
    numbers = np.frombuffer(labels.read_bytes(), dtype=np.uint8)
    return Split(untile(pixels, tile), torch.from_numpy(numbers.astype(np.int64)))


def untile(picture: NDArray[np.uint8], tile: int) -> Tensor:
    """The images (N, C, tile, tile) uint8 in a picture of tiles, (H, W, C) or (H, W)."""
    columns = picture.shape[1] // tile
    rows = torch.from_numpy(picture.copy()).reshape(-1, tile, columns, tile, *picture.shape[2:])
    rows = rows if rows.dim() == 5 else rows[..., None]
    return rows.permute(0, 2, 4, 1, 3).flatten(0, 1).contiguous()
