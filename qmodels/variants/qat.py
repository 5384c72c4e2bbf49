"""Quantization-aware training, converted: what was trained to be rounded is rounded."""

import torch
from torch import Tensor, nn

from qmodels.quantize import fake_quantize
from qmodels.variants.registry import variant
from qmodels.variants.static import KERNELS, SCRIPT, freeze


@variant(
    backend=SCRIPT,
    summary="fine-tuned with fake-quantization, converted, frozen as TorchScript",
    arithmetic="int8",
    int8_share=1.0,
    quantization_aware=True,
    kernels=KERNELS,
)
def qat_int8(model: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Convert a fake-quantized model, then trace it."""
    return freeze(fake_quantize.convert(model, SCRIPT.engine), example, SCRIPT)
