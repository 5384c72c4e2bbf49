"""The images that a variant gets wrong and fp32 right, or the other way round, by class.

Only images of the packaged data sets are shown: a page may be published.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmodels.gate import Run
from qmodels.gate.ranks import NOT_EVALUATED, Ranks, labels_digest
from qmodels.system.defaults import REFERENCE

_TILE = 32
COLUMNS = 40
_LIMIT = 800  # images in the picture, the ones that flip most often; a kilobyte each
_QUALITY = 80


@dataclass(frozen=True)
class ClassFlips:
    """The flipped images of one class.

    Attributes:
        lost, won: positions in the picture; what it has no room for is not among them.
        lost_count, won_count: how many there are.
    """

    name: str
    lost: tuple[int, ...]
    won: tuple[int, ...]
    lost_count: int
    won_count: int


@dataclass(frozen=True)
class Flipped:
    """The flipped images of a variant, by class, those with most losses first."""

    lost: int
    won: int
    classes: tuple[ClassFlips, ...]


def flipped_images(run: Run) -> tuple[dict[str, Flipped], str]:
    """The flipped images of each variant, and a picture of them as a data URI.

    Empty where the run has no ranks, or was measured on other images than the packaged ones.
    """
    ranks = {
        entry.variant: entry.by_image
        for entry in run.entries.values()
        if isinstance(entry.by_image, Ranks)
    }
    reference = ranks.pop(REFERENCE, None)
    if reference is None:
        return {}, ""
    from qmodels import data  # torch takes seconds, and the other parts of a page need none
    from qmodels.data.names import CLASSES

    tests = {name: data.load(name).test for name in CLASSES}
    dataset = next(
        (
            name
            for name, test in tests.items()
            if labels_digest(test.labels.numpy()) == reference.images
        ),
        None,
    )
    if dataset is None or len(tests[dataset]) != len(reference.values):
        return {}, ""
    test, labels = tests[dataset], tests[dataset].labels.numpy()
    masks = {
        name: _masks_of(other, reference)
        for name, other in ranks.items()
        if other.images == reference.images and len(other.values) == len(labels)
    }
    counts = Counter(
        int(index) for lost, won in masks.values() for index in np.flatnonzero(lost | won)
    )
    places = {index: place for place, (index, _) in enumerate(counts.most_common(_LIMIT))}
    flipped = {
        name: _by_class(lost, won, labels, CLASSES[dataset], places)
        for name, (lost, won) in masks.items()
    }
    images = test.images.numpy()[list(places)]
    return flipped, _picture(images) if places else ""


def _masks_of(now: Ranks, reference: Ranks) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images, (N,), fp32 alone gets right, and which the variant alone."""
    both = (now.values != NOT_EVALUATED) & (reference.values != NOT_EVALUATED)
    right, was_right = now.values == 0, reference.values == 0
    return both & was_right & ~right, both & right & ~was_right


def _by_class(
    lost: NDArray[np.bool_],
    won: NDArray[np.bool_],
    labels: NDArray[np.int64],
    names: Sequence[str],
    places: Mapping[int, int],
) -> Flipped:
    def tiles(mask: NDArray[np.bool_]) -> tuple[int, ...]:
        return tuple(places[int(index)] for index in np.flatnonzero(mask) if int(index) in places)

    classes = []
    for label in np.unique(labels[lost | won]):
        own = labels == label
        classes.append(
            ClassFlips(
                names[int(label)],
                *(tiles(lost & own), tiles(won & own)),
                *(int((lost & own).sum()), int((won & own).sum())),
            )
        )
    classes.sort(key=lambda flips: (-flips.lost_count, flips.won_count, flips.name))
    return Flipped(int(lost.sum()), int(won.sum()), tuple(classes))


def _picture(images: NDArray[np.uint8]) -> str:
    """Images (N, 3, 32, 32) as tiles of one WebP picture, ``COLUMNS`` in a row, as a data URI."""
    from PIL import Image

    rows = -(-len(images) // COLUMNS)
    canvas = np.zeros((rows * COLUMNS, 3, _TILE, _TILE), np.uint8)
    canvas[: len(images)] = images
    tiles = canvas.reshape(rows, COLUMNS, 3, _TILE, _TILE).transpose(0, 3, 1, 4, 2)
    stream = io.BytesIO()
    pixels = tiles.reshape(rows * _TILE, COLUMNS * _TILE, 3)
    Image.fromarray(pixels).save(stream, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
