"""Gradients of a batch, in as many parts as the device's memory asks for."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qmodels.system.errors import UserError


class Accumulator:
    """Computes gradients in micro-batches, of half the size whenever memory runs out.

    Attributes:
        size: images that pass at a time.
        halved: called with the new size after each halving.
    """

    def __init__(self, size: int, halved: Callable[[int], None]) -> None:
        self.size = size
        self.halved = halved

    def backward(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        images: Tensor,
        targets: Tensor,
        most_images: int | None,
    ) -> Tensor:
        """Leave the gradients of a batch's summed loss in the model; returns that sum.

        Sums over micro-batches are those over the batch, up to rounding, whatever the size: a
        retried batch starts from the statistics and ranges as they were before it.

        Args:
            loss: the summed loss of some images (M, C, H, W) with their targets (M, classes).
            most_images: that may pass at a time, where ``size`` is more; None for any number.

        Raises:
            UserError: not even one image fits.
        """
        moving = [buffer for buffer in model.buffers() if buffer.numel()] if model.training else []
        while True:
            before = [buffer.clone() for buffer in moving]
            model.zero_grad(set_to_none=True)
            total = torch.zeros((), device=images.device)
            step = min(self.size, most_images or self.size)
            try:
                for part, its_targets in zip(images.split(step), targets.split(step), strict=True):
                    value = loss(part, its_targets)
                    value.backward()
                    total += value.detach()
                return total
            except torch.OutOfMemoryError:
                if step == 1:
                    raise UserError(
                        "out of GPU memory with a single image: free the GPU of other processes, "
                        "or choose a smaller --width"
                    ) from None
                self.size = step // 2
            # Out of the handler, whose traceback kept the activations alive.
            for buffer, value in zip(moving, before, strict=True):
                buffer.copy_(value)
            torch.cuda.empty_cache()
            self.halved(self.size)
