"""The handwritten digits that scikit-learn ships, which need no network.

The test part of Alpaydin and Kaynak's UCI set (1998), 1,797 images, enlarged from 8x8 to 32x32.
"""

import torch

from qmodels.data.dataset import CALIBRATION_IMAGES, Dataset, Split, stratified_subset


def load() -> Dataset:
    """Handwritten digits: 1,201 training and 596 test images of 10 classes.

    Every third image of each class, in the data set's own order, is a test image.
    """
    from sklearn import datasets  # slow to import, and only digits need it

    source = datasets.load_digits()
    pixels = torch.from_numpy(source.images).float() * (255 / 16)
    images = torch.nn.functional.interpolate(pixels[:, None], size=32, mode="bilinear")
    images = images.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    everything = Split(images, torch.from_numpy(source.target).long())
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
