"""Handwritten digits, which come with the package.

The test part of Alpaydin and Kaynak's UCI set (1998), 1,797 images, enlarged from 8x8 to 32x32.
"""

from pathlib import Path

import torch

from qmodels.data import packaged
from qmodels.data.dataset import CALIBRATION_IMAGES, Dataset, Split, stratified_subset

PACKAGED = Path(__file__).parent / "digits_files"
SHA256 = {
    "digits.png": "0af43b6d44e07bebbc46d5cc94fc50100a8127b363a36b8eb8ab6a9a659d92a7",
    "digits.labels": "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
}
TILE = 8
WHITE = 16  # the brightest pixel of the packaged images


def load() -> Dataset:
    """Handwritten digits: 1,201 training and 596 test images of 10 classes.

    Every third image of each class, in the data set's own order, is a test image.
    """
    small = packaged.read(PACKAGED / "digits.png", TILE, SHA256)
    pixels = small.images.float() * (255 / WHITE)
    images = torch.nn.functional.interpolate(pixels, size=32, mode="bilinear")
    images = images.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    everything = Split(images, small.labels)
    rank = torch.zeros(len(everything), dtype=torch.int64)
    for digit in range(10):
        members = everything.labels == digit
        rank[members] = torch.arange(int(members.sum()))
    held_out = rank % 3 == 2
    train = everything.take(torch.nonzero(~held_out).flatten())
    # From the training split: tests hold these figures against it.
    return Dataset(
        name="digits",
        classes=10,
        test=everything.take(torch.nonzero(held_out).flatten()),
        calibration=stratified_subset(train, CALIBRATION_IMAGES),
        load_train=lambda: train,
        mean=(0.3047,) * 3,
        std=(0.3234,) * 3,
        hflip=False,
    )
