"""The average of the weights over the last epochs, which is better than any of them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

STATISTICS_BATCHES = 100


def start(model: nn.Module, steps: float) -> AveragedModel:
    """An exponential average over about so many steps, to be updated after each.

    All of it, the count of updates too, is on the model's device: NCCL reaches no other.
    """
    return AveragedModel(
        model,
        device=next(model.parameters()).device,
        multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / max(1.0, steps)),
    )


def with_statistics(average: AveragedModel, batches: Iterable[Tensor]) -> nn.Module:
    """The averaged model, its batch norm statistics those of some batches of images.

    Averaged weights have activations of other scale than any of the models they came from
    (Izmailov et al., "Averaging weights leads to wider optima", 2018, section 3.2).
    """
    model: nn.Module = average.module
    with torch.no_grad():
        update_bn(batches, model)
    return model
