"""Layers of integers of random values, and what they are given."""

import torch
from torch import Tensor

from qmodels.nvidia import integer
from qmodels.nvidia.calibration import Scale
from qmodels.nvidia.integer import Convolution

IMAGES, RESULTS, RESIDUAL = Scale(0.02, -5), Scale(0.2, -100), Scale(0.15, 12)


def random_layer(
    channels: int, outputs: int, kernel: int, stride: int, relu: bool, added: bool
) -> Convolution:
    generator = torch.Generator().manual_seed(channels + outputs)
    weight = torch.randn(outputs, channels, kernel, kernel, generator=generator)
    return integer.convolution(
        weight * (channels * kernel**2) ** -0.5 * 3,
        torch.randn(outputs, generator=generator),
        stride,
        IMAGES,
        RESULTS,
        relu=relu,
        residual=RESIDUAL if added else None,
    )


def random_integers(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, generator=generator).to(torch.int8)


def operands(
    layer: Convolution, batch: int, height: int, width: int, added: bool
) -> tuple[Tensor, Tensor | None]:
    x = random_integers(batch, height, width, layer.weight.shape[3])
    residual = random_integers(*integer.check(x, layer, None)) if added else None
    return x, residual
