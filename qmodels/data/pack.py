"""Write the pictures that come with the package, from the files of the data sets' own sources.

    QMODELS_DATA_DIR=FOLDER python -m qmodels.data.pack

Only whoever changes the pictures runs it, with scikit-learn installed. It prints the checksums that
the modules of the data sets verify.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from qmodels.data import cifar100, digits
from qmodels.data.dataset import CALIBRATION_IMAGES, Split, stratified_subset
from qmodels.system import files, store


def tile(images: Tensor, columns: int) -> NDArray[np.uint8]:
    """Images (N, C, H, W) uint8 as one picture of tiles, row by row; ``untile`` undoes it.

    Args:
        columns: tiles in a row; it divides N.

    Returns:
        A picture (H, W, C), or (H, W) where C is 1.
    """
    _, channels, height, width = images.shape
    rows = images.reshape(-1, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    picture: NDArray[np.uint8] = rows.reshape(-1, columns * width, channels).numpy()
    return picture[..., 0] if channels == 1 else picture


def _write(path: Path, split: Split, columns: int) -> None:
    with files.atomic_write(path) as scratch:
        picture = Image.fromarray(tile(split.images, columns))
        picture.save(scratch, path.suffix[1:], lossless=True, quality=100, method=6)
    with files.atomic_write(path.with_suffix(".labels")) as scratch:
        scratch.write_bytes(split.labels.to(torch.uint8).numpy().tobytes())
    for written in (path, path.with_suffix(".labels")):
        print(f'    "{written.name}": "{store.digest_file(written)}",')


def read_digits() -> Split:
    """The digits as scikit-learn ships them: images (1797, 1, 8, 8) uint8 from 0 to 16."""
    from sklearn import datasets

    source = datasets.load_digits()
    images = torch.from_numpy(source.images).to(torch.uint8)
    return Split(images[:, None], torch.from_numpy(source.target).long())


def main() -> None:
    """Write all splits; the test split of CIFAR-100 takes a minute."""
    _write(digits.PACKAGED / "digits.png", read_digits(), columns=599)
    _write(cifar100.PACKAGED / "test.webp", cifar100.read_downloaded(train=False), columns=100)
    calibration = stratified_subset(cifar100.load_train(), CALIBRATION_IMAGES)
    _write(cifar100.PACKAGED / "calibration.webp", calibration, columns=40)


if __name__ == "__main__":
    main()
