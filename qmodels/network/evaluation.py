"""Run a model over images, and see how often it is right, or which scores it gets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qmodels.network import images
from qmodels.network.images import Images
from qmodels.network.trained import Network
from qmodels.system.errors import UserError, describe_error

MOST_DB = 100.0


@dataclass(frozen=True)
class Predictions:
    """Logits of a classifier, with the labels of the images.

    Attributes:
        logits: (N, classes) float32.
        labels: (N,) int64.
    """

    logits: Tensor
    labels: Tensor

    @property
    def outputs(self) -> Tensor:
        """The outputs that are compared with those of other runtimes."""
        return self.logits

    @property
    def scores(self) -> Tensor:
        """Which images are right, (N,) float64 of 0 and 1."""
        return (ranks(self.logits, self.labels) == 0).double()

    @property
    def broken(self) -> str | None:
        """The number of images with outputs that are not finite, as a line; None for 0."""
        return not_finite(self.logits)


@dataclass(frozen=True)
class Scored:
    """Scores of a network's outputs.

    Attributes:
        scores: (N,) float64.
        outputs: of the network's reference images, (M, ...) float32.
        broken: as of ``Predictions``.
    """

    scores: Tensor
    outputs: Tensor
    broken: str | None


Evaluation = Predictions | Scored
Forward = Callable[[Tensor], Tensor]


def evaluate(network: Network, forward: Forward, positions: Sequence[int]) -> Evaluation:
    """Run a model of a network over its test images at some positions, in batches."""
    size = images.batch_size(network.input_shape)
    if network.score is None:
        chosen = images.Subset(network.test_images, positions)
        logits = predict(forward, chosen, batch_size=size)
        return Predictions(logits, network.labels[list(positions)])
    scores, broken = [], 0
    with torch.inference_mode():
        for start in range(0, len(positions), size):
            some = positions[start : start + size]
            outputs = forward(images.read(network.test_images, some))
            broken += _count_not_finite(outputs)
            scores.append(score(network, outputs, images.read(network.targets, some)))
        reference = forward(network.reference_images)
    return Scored(torch.cat(scores), reference, _not_finite_line(broken, len(positions)))


def score(network: Network, outputs: Tensor, targets: Tensor) -> Tensor:
    """Scores (N,) float64 of outputs (N, ...) by a network's score function.

    Raises:
        UserError: it fails, or is not one number an image.
    """
    assert network.score is not None
    try:
        scores = torch.as_tensor(network.score(outputs, targets)).double()
    except Exception as error:  # whatever a user's function raises
        raise UserError(
            f"network {network.name}: its score fails ({describe_error(error)}): it takes outputs "
            "and targets, and returns one number an image"
        ) from None
    if scores.shape != outputs.shape[:1]:
        given = ", ".join(map(str, scores.shape))
        raise UserError(
            f"network {network.name}: its score is ({given}) for {len(outputs)} images: "
            "return one number an image"
        )
    # Where outputs are finite: others are reported as such.
    finite = outputs.flatten(1).isfinite().all(dim=1)
    if not scores[finite].isfinite().all():
        raise UserError(
            f"network {network.name}: its score is not finite: return a number for every image"
        )
    return scores


def _count_not_finite(outputs: Tensor) -> int:
    return int((~outputs.flatten(1).isfinite()).any(dim=1).sum())


def not_finite(outputs: Tensor) -> str | None:
    """The number of images with NaN or infinity in outputs (N, ...), as a line; None for 0."""
    return _not_finite_line(_count_not_finite(outputs), len(outputs))


def _not_finite_line(broken: int, count: int) -> str | None:
    return f"{broken} of {count} images have outputs that are not finite" if broken else None


def predict(forward: Forward, pixels: Images, *, batch_size: int = images.MOST_IMAGES) -> Tensor:
    """Outputs (N, ...) float32 of N images, in batches."""
    with torch.inference_mode():
        return torch.cat([forward(batch) for batch in images.batches(pixels, batch_size)])


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Number of classes before the right one, (N,) int64, by logits (N, classes).

    Of equal logits, which int8 makes common, the first class comes first, as for ``argmax``. An
    image with a logit that is not finite is wrong: all classes come before the right one.
    """
    right = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1]) < labels[:, None]
    rank = ((logits > right) | ((logits == right) & earlier)).sum(dim=1)
    # NaN compares as false with everything, which would put the right class first.
    return torch.where(logits.isfinite().all(dim=1), rank, logits.shape[1])


def accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Top-1 accuracy and top-5 error in percent, of logits (N, classes) for labels (N,)."""
    rank = ranks(logits, labels)
    count = len(labels)
    return 100 * int((rank == 0).sum()) / count, 100 * int((rank >= 5).sum()) / count


def sqnr_db(values: Tensor, reference: Tensor) -> float:
    """Signal to quantization noise of values that should be the reference's, in decibels.

    At most ``MOST_DB``: beyond that is the rounding of float32 sums, which no two runtimes share.
    At least ``-MOST_DB``, which is also that of values that are not finite.
    """
    if not (values.isfinite().all() and reference.isfinite().all()):
        return -MOST_DB
    signal = reference.double().pow(2).sum()
    noise = (values.double() - reference.double()).pow(2).sum()
    return max(-MOST_DB, min(MOST_DB, float(10 * torch.log10(signal / noise))))
