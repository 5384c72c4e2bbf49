"""Post-training dynamic quantization: linear weights ahead of time, activations as they come.

torch has dynamic kernels for linear layers and none for convolutions, so all but 51,300 of
ResNet-34's 21 million parameters stay float: it is here because the study measured it.
"""

import torch
from torch import Tensor, nn

from qmodels import machine, torch_ao
from qmodels.resnet import Resnet34
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import WEIGHTS
from qmodels.variants.registry import variant

ENGINE = machine.quantized_engine()


@variant(
    "dynamic-fp16",
    engine="fbgemm",  # the only engine with float16 linear kernels
    summary="linear weights as float16, computed in float32",
    format=WEIGHTS,
    kernels=("quantized::linear_dynamic_fp16", "aten::conv2d"),
)
def dynamic_fp16(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Linear layers with float16 weights."""
    return quantize_linear(model, torch.float16, "fbgemm")


@variant(
    "dynamic-int8",
    engine=ENGINE,
    summary="linear weights as int8, activations quantized batch by batch",
    format=WEIGHTS,
    kernels=("quantized::linear_dynamic", "aten::conv2d"),
)
def dynamic_int8(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Linear layers with int8 weights."""
    return quantize_linear(model, torch.qint8, ENGINE)


def quantize_linear(model: Resnet34, dtype: torch.dtype, engine: str) -> nn.Module:
    """A copy of the model with its linear layers replaced."""
    with torch_ao.quantized_engine(engine):
        quantized: nn.Module = torch_ao.quantize_dynamic(model, {nn.Linear}, dtype=dtype)
    return quantized
