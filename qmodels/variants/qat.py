"""Quantization-aware training, converted: what was trained to be rounded is rounded."""

import torch
from torch import Tensor, nn

from qmodels.variants.registry import variant
from qmodels.variants.static import KERNELS, SCRIPT, freeze, with_ranges


@variant(
    backend=SCRIPT,
    summary="fine-tuned with fake-quantization, converted, frozen as TorchScript",
    arithmetic="int8",
    int8_share=1.0,
    quantization_aware=True,
    kernels=KERNELS,
)
def qat_int8(model: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Convert the network of rounded weights with the trained ranges, then trace it."""
    return freeze(with_ranges(model, SCRIPT), example, SCRIPT)
