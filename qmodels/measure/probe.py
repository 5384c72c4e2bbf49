"""Fixed kernels: a second reference, which no change of the models' code can make slower.

Latencies as ratios to fp32 hide a regression that hits both. These convolutions are made from
constants here and from nothing of the networks.
"""

import torch
from torch import Tensor, nn

from qmodels.backends.base import ForwardFn

# Channels and side of the image. Where a process happens to put tensors and compiled code moves
# the time of one kernel by some percent; of many, less.
SHAPES = (
    *((8, 32), (8, 48), (16, 32), (24, 24), (32, 24)),
    *((48, 16), (64, 16), (96, 8), (128, 8)),
)


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
    """A convolution in float32, and in int8 where this torch has oneDNN."""
    generator = torch.Generator().manual_seed(channels)
    image = torch.randn(1, channels, size, size, generator=generator)
    weight = torch.randn(channels, channels, 3, 3, generator=generator)
    kernels: list[ForwardFn] = [lambda images: nn.functional.conv2d(image, weight, padding=1)]
    if torch.backends.mkldnn.is_available():
        levels = (image / 0.05 + 64).round().clamp(0, 255).to(torch.uint8)
        integers = levels.contiguous(memory_format=torch.channels_last)
        scales, zero_points = torch.full((channels,), 0.05), torch.zeros(channels, dtype=torch.int8)
        packed = torch.ops.onednn.qconv_prepack(
            *((weight / 0.05).round().clamp(-128, 127).to(torch.int8), scales, 0.05, 64),
            *([1, 1], [1, 1], [1, 1], 1, [1, channels, size, size]),
        )
        # The operator that torch's compiler calls for graphs of PT2E.
        kernels.append(
            lambda images: torch.ops.onednn.qconv_pointwise(
                *(integers, 0.05, 64, packed, scales, zero_points, None),
                *([1, 1], [1, 1], [1, 1], 1, 0.5, 64, torch.uint8, "none", [], ""),
            )
        )
    return kernels
