"""Fixed kernels: a second reference, which no change of the models' code can make slower.

Latencies as ratios to fp32 hide a regression that hits both. These convolutions are made from
constants here and from nothing of the networks.
"""

import torch
from torch import Tensor, nn

from qmodels.backends.base import ForwardFn
from qmodels.backends.torch_engine import default_engine
from qmodels.network import eager_quantization

# Channels and side of the image. Where a process happens to put tensors and compiled code moves
# the time of one kernel by some percent; of many, less.
SHAPES = ((8, 48), (16, 32), (24, 24), (32, 24), (48, 16), (64, 16), (96, 8), (128, 8))


def probe() -> ForwardFn:
    """3x3 convolutions of many shapes, each in float32 and in int8, about a millisecond in all.

    It takes images, as models do, and ignores them.
    """
    kernels = [kernel for shape in SHAPES for kernel in _convolutions(*shape)]

    def run(images: Tensor) -> Tensor:
        for kernel in kernels:
            kernel(images)
        return images

    return run


def _convolutions(channels: int, size: int) -> list[ForwardFn]:
    """A convolution in float32, and in int8 where this torch has an engine for it."""
    generator = torch.Generator().manual_seed(channels)
    image = torch.randn(1, channels, size, size, generator=generator)
    weight = torch.randn(channels, channels, 3, 3, generator=generator)
    kernels: list[ForwardFn] = [lambda images: nn.functional.conv2d(image, weight, padding=1)]
    engine = default_engine()
    if engine != "none":
        with eager_quantization.quantized_engine(engine):
            integers = torch.quantize_per_tensor(image, 0.05, 64, torch.quint8)
            packed = torch.ops.quantized.conv2d_prepack(
                torch.quantize_per_tensor(weight, 0.05, 0, torch.qint8),
                None,
                [1, 1],
                [1, 1],
                [1, 1],
                1,
            )
        kernels.append(lambda images: torch.ops.quantized.conv2d.new(integers, packed, 0.5, 64))
    return kernels
