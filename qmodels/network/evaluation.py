"""Run a model over images, and count how often it is right."""

from collections.abc import Callable

import torch
from torch import Tensor

from qmodels.network import images
from qmodels.network.images import Images

MOST_DB = 100.0


def not_finite(logits: Tensor) -> str | None:
    """How many images of logits (N, classes) have a NaN or an infinity, in a line; None without."""
    broken = int((~logits.isfinite()).any(dim=1).sum())
    if broken == 0:
        return None
    return f"{broken} of {len(logits)} images have logits that are not finite"


def predict(
    forward: Callable[[Tensor], Tensor], pixels: Images, *, batch_size: int = images.MOST_IMAGES
) -> Tensor:
    """Logits (N, classes) float32 of N images, in batches."""
    with torch.inference_mode():
        return torch.cat([forward(batch) for batch in images.batches(pixels, batch_size)])


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the right one, (N,) int64, of logits (N, classes).

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
