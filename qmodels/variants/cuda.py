"""The network on an NVIDIA GPU: compiled in three float precisions, and in int8 by Triton."""

import torch
from torch import Tensor

from qmodels import integer_network
from qmodels.fusion import fuse
from qmodels.resnet import Resnet34
from qmodels.runtimes.cuda import CUDA_FLOAT, CUDA_INT8, InPrecision, no_compiler
from qmodels.runtimes.dispatch import Runnable
from qmodels.variants.registry import variant


@variant(
    "cuda-fp32",
    engine="cuda",
    summary="fused, compiled, CUDA graphs, float32 without TF32",
    format=CUDA_FLOAT,
    here=no_compiler,
)
def cuda_fp32(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """In float32: not what tensor cores are for, but what the others are held against."""
    return InPrecision(fuse(model), torch.float32).eval()


@variant(
    "cuda-fp16",
    engine="cuda",
    summary="cuda-fp32, in float16",
    format=CUDA_FLOAT,
    arithmetic="float16",
    here=no_compiler,
)
def cuda_fp16(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Weights and activations in float16; batch norms are folded before, in float32."""
    return InPrecision(fuse(model), torch.float16).eval()


@variant(
    "cuda-bf16",
    engine="cuda",
    summary="cuda-fp32, in bfloat16",
    format=CUDA_FLOAT,
    arithmetic="bfloat16",
    here=no_compiler,
)
def cuda_bf16(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Weights and activations in bfloat16; batch norms are folded before, in float32."""
    return InPrecision(fuse(model), torch.bfloat16).eval()


@variant(
    "cuda-int8",
    engine="triton",
    summary="int8 by fused Triton kernels, CUDA graphs",
    format=CUDA_INT8,
    arithmetic="int8",
    int8_share=0.999,  # all but the linear layer
    calibrates=True,
    requires=("triton",),
    extra="cuda",
    here=no_compiler,
)
def cuda_int8(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Integers from the image to the pooling: see ``qmodels.integer``."""
    return integer_network.quantized(fuse(model), calibration)
