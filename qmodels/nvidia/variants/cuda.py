"""Variants on an NVIDIA GPU: compiled in three float precisions, and in int8 by Triton."""

import torch
from torch import Tensor, nn

from qmodels.network.fusion import fuse
from qmodels.network.precision import InPrecision
from qmodels.nvidia import cuda, integer_network, triton
from qmodels.nvidia.integer_network import IntegerNetwork
from qmodels.nvidia.residual import residual_network
from qmodels.variants.registry import variant


@variant(backend=cuda.BACKEND, summary="fused, compiled, CUDA graphs, float32 without TF32")
def cuda_fp32(model: nn.Module) -> InPrecision:
    """In float32: not what tensor cores are for, but what the others are compared with."""
    return _in_precision(model, torch.float32)


@variant(backend=cuda.BACKEND, summary="cuda-fp32, in float16", arithmetic="float16")
def cuda_fp16(model: nn.Module) -> InPrecision:
    """Weights and activations in float16; batch norms are folded before, in float32."""
    return _in_precision(model, torch.float16)


@variant(backend=cuda.BACKEND, summary="cuda-fp32, in bfloat16", arithmetic="bfloat16")
def cuda_bf16(model: nn.Module) -> InPrecision:
    """Weights and activations in bfloat16; batch norms are folded before, in float32."""
    return _in_precision(model, torch.bfloat16)


def _in_precision(model: nn.Module, precision: torch.dtype) -> InPrecision:
    return InPrecision(fuse(model), precision, torch.channels_last).eval()


def _structure(model: nn.Module) -> IntegerNetwork:
    return integer_network.structure(residual_network(fuse(model)))


@variant(
    backend=triton.BACKEND,
    summary="int8 by fused Triton kernels, CUDA graphs",
    arithmetic="int8",
    int8_share=0.999,  # all but the linear layer
    structure=_structure,
)
def cuda_int8(model: nn.Module, calibration: Tensor) -> IntegerNetwork:
    """Integers from the image to the pooling: see ``nvidia.integer``."""
    return integer_network.quantize(residual_network(fuse(model)), calibration)
