"""Write the pictures that come with the package, from the files of the data set's own site.

    QMODELS_DATA_DIR=FOLDER python -m qmodels.data.pack

Only whoever changes the pictures runs it. It prints the checksums that ``cifar100.py`` verifies.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from qmodels.data import cifar100
from qmodels.data.dataset import CALIBRATION_IMAGES, Split, stratified_subset
from qmodels.system import store


def tile(images: Tensor, columns: int) -> NDArray[np.uint8]:
    """Images (N, 3, 32, 32) uint8 as one picture (H, W, 3), row by row; ``untile`` undoes it.

    Args:
        columns: tiles in a row; it divides N.
    """
    _, channels, height, width = images.shape
    rows = images.reshape(-1, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    picture: NDArray[np.uint8] = rows.reshape(-1, columns * width, channels).numpy()
    return picture


def write(name: str, split: Split, columns: int) -> None:
    """Write a split into the package."""
    with store.atomic_write(cifar100.PACKAGED / f"{name}.webp") as scratch:
        picture = Image.fromarray(tile(split.images, columns))
        picture.save(scratch, "webp", lossless=True, quality=100, method=6)
    with store.atomic_write(cifar100.PACKAGED / f"{name}.labels") as scratch:
        scratch.write_bytes(split.labels.to(torch.uint8).numpy().tobytes())


def main() -> None:
    """Write both splits; the test split takes a minute."""
    write("test", cifar100.read_downloaded(train=False), columns=100)
    write("calibration", stratified_subset(cifar100.load_train(), CALIBRATION_IMAGES), columns=40)
    for name in cifar100.SHA256:
        print(f'    "{name}": "{store.digest_file(cifar100.PACKAGED / name)}",')


if __name__ == "__main__":
    main()
