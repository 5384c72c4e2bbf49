"""Post-training dynamic quantization: linear weights ahead of time, activations as they come.

torch has dynamic kernels for linear layers and none for convolutions. A convolutional network stays
float but for its last layer: these variants are here because the study measured them.
"""

import torch
from torch import nn

from qmodels.backends import eager
from qmodels.backends.torch_engine import default_engine, quantized_engine
from qmodels.variants.registry import variant

_FBGEMM = eager.BACKEND.on("fbgemm")  # the only engine with float16 linear kernels
_DEFAULT = eager.BACKEND.on(default_engine())


@variant(
    backend=_FBGEMM,
    summary="linear weights as float16, computed in float32",
    kernels={nn.Linear: ("quantized::linear_dynamic_fp16",), nn.Conv2d: ("aten::conv2d",)},
)
def dynamic_fp16(model: nn.Module) -> nn.Module:
    """Linear layers with float16 weights."""
    return _quantize_linear(model, torch.float16, _FBGEMM.engine)


@variant(
    backend=_DEFAULT,
    summary="linear weights as int8, activations quantized batch by batch",
    kernels={nn.Linear: ("quantized::linear_dynamic",), nn.Conv2d: ("aten::conv2d",)},
)
def dynamic_int8(model: nn.Module) -> nn.Module:
    """Linear layers with int8 weights."""
    return _quantize_linear(model, torch.qint8, _DEFAULT.engine)


def _quantize_linear(model: nn.Module, dtype: torch.dtype, engine: str) -> nn.Module:
    from torch.ao.quantization import quantize_dynamic

    with quantized_engine(engine):
        quantized: nn.Module = quantize_dynamic(model, {nn.Linear}, dtype=dtype)
    return quantized
