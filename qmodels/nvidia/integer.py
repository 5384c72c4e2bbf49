"""Convolutions of int8 in integers alone, to the bit the same on every device.

Activations are int8 with a zero point. The output of a ReLU then uses all 256 integers instead of
128, which halves the rounding error. It costs nothing: once padding is filled with the zero point,
its product with the weights is a constant of each output channel. Weights are symmetric, with a
scale for each output channel.

Sums are rescaled as Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018), section 2.2, do: by an integer and a shift. Floating
point would round differently where a compiler joins a product and a sum.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qmodels.nvidia.calibration import Scale
from qmodels.system.errors import UserError

_LOWEST, _HIGHEST = -128, 127
_WEIGHT_LEVELS = 127
# Multipliers are int32, and sums of at most 31 bits times them int64: more of a shift gains
# nothing, and offsets of thousands of steps still fit.
_MOST_SHIFT = 40


class Convolution(nn.Module):
    """A convolution of int8 with all that follows it: bias, residual sum, ReLU, rounding.

    Its result is ``clamp((sums * multiplier + residual * residual_multiplier + offset) >> shift)``,
    where ``offset`` holds the bias, all zero points, and the half that makes the shift round to
    nearest, ties upwards. A ReLU is a higher lower end of the clamp. Sums stay below 2^31 for
    fewer than 132,104 weights a channel.

    Attributes:
        weight: (out, kernel, kernel, in) int8.
        multiplier: (out,) int32.
        offset: (out,) int64.
        numbers: (4,) int64: what padding is filled with, the residual's multiplier (0 where there
            is no residual), the shift, the lowest result. A tensor, so that a kernel reads them
            where the weights are.
    """

    weight: Tensor
    multiplier: Tensor
    offset: Tensor
    numbers: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        shape = (out_channels, kernel, kernel, in_channels)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("multiplier", torch.zeros(out_channels, dtype=torch.int32))
        self.register_buffer("offset", torch.zeros(out_channels, dtype=torch.int64))
        self.register_buffer("numbers", torch.zeros(4, dtype=torch.int64))


def convolution(
    weight: Tensor,
    bias: Tensor,
    stride: int,
    images: Scale,
    results: Scale,
    *,
    relu: bool,
    residual: Scale | None = None,
) -> Convolution:
    """Quantize a convolution.

    Args:
        weight: (out, in, kernel, kernel) float32.
        bias: (out,) float32.
        stride: of both directions; the padding is half the kernel.
        images, results, residual: scales of the input, of the output, and of what is added.
    """
    outputs, channels, kernel, _ = weight.shape
    rows = weight.detach().double()
    steps = rows.abs().amax((1, 2, 3)).clamp_min(1e-12) / _WEIGHT_LEVELS
    levels = (rows / steps.view(-1, 1, 1, 1)).round()
    factors = steps * images.scale / results.scale
    residual_factor = residual.scale / results.scale if residual else 0.0
    largest = max(float(factors.max()), residual_factor)
    shift = max(1, min(_MOST_SHIFT, math.floor(math.log2((2**31 - 1) / largest))))
    multiplier = (factors * 2**shift).round().to(torch.int64)
    residual_multiplier = round(residual_factor * 2**shift)
    offset = (bias.detach().double() / results.scale * 2**shift).round().to(torch.int64)
    offset -= images.zero_point * levels.sum((1, 2, 3)).to(torch.int64) * multiplier
    offset += (results.zero_point << shift) + (1 << shift - 1)
    if residual:
        offset -= residual.zero_point * residual_multiplier
    layer = Convolution(channels, outputs, kernel, stride)
    layer.weight.copy_(levels.permute(0, 2, 3, 1))
    layer.multiplier.copy_(multiplier)
    layer.offset.copy_(offset)
    lowest = results.zero_point if relu else _LOWEST
    layer.numbers.copy_(
        torch.tensor([images.zero_point, residual_multiplier, shift, lowest], dtype=torch.int64)
    )
    return layer


def check(x: Tensor, layer: Convolution, residual: Tensor | None) -> tuple[int, int, int, int]:
    """The shape (N, height, width, out) that a convolution gives.

    Raises:
        UserError: naming the tensor that does not fit.
    """
    outputs, kernel, _, channels = layer.weight.shape
    fits = x.dim() == 4 and x.shape[-1] == channels
    if not fits or x.dtype != torch.int8:
        raise UserError(
            f"a convolution got {tuple(x.shape)} of {x.dtype}: give it (N, height, width, "
            f"{channels}) of torch.int8"
        )
    height, width = (
        (size + 2 * (kernel // 2) - kernel) // layer.stride + 1 for size in x.shape[1:3]
    )
    shape = (x.shape[0], height, width, outputs)
    if residual is not None and (residual.shape != shape or residual.dtype != torch.int8):
        raise UserError(
            f"a convolution got a residual {tuple(residual.shape)} of {residual.dtype}: give it "
            f"{shape} of torch.int8"
        )
    return shape


def convolve(x: Tensor, layer: Convolution, residual: Tensor | None = None) -> Tensor:
    """A convolution's exact result: (N, height, width, in) int8 to (N, ..., ..., out) int8.

    Multiplies in float64, which holds these sums exactly, and rescales in int64.
    """
    check(x, layer, residual)
    padding_value, residual_multiplier, shift, lowest = layer.numbers.tolist()
    reach = layer.weight.shape[1] // 2
    padded = nn.functional.pad(
        x.permute(0, 3, 1, 2).double(), (reach, reach, reach, reach), value=padding_value
    )
    kernel = layer.weight.permute(0, 3, 1, 2).double()
    sums = nn.functional.conv2d(padded, kernel, stride=layer.stride)
    total = sums.permute(0, 2, 3, 1).to(torch.int64) * layer.multiplier + layer.offset
    if residual is not None:
        total += residual.to(torch.int64) * residual_multiplier
    result: Tensor = (total >> shift).clamp(lowest, _HIGHEST).to(torch.int8)
    return result.contiguous()


def quantize(images: Tensor, steps: Tensor) -> Tensor:
    """Images (N, 3, height, width) float32 as (N, height, width, 3) int8.

    Args:
        steps: (2,) float32, the reciprocal of the scale, and the zero point and a half. Product
            and sum are rounded one after the other.
    """
    scaled = torch.floor(images * steps[0] + steps[1]).clamp(_LOWEST, _HIGHEST)
    return scaled.to(torch.int8).permute(0, 2, 3, 1).contiguous()


@dataclass(frozen=True)
class IntegerArithmetic:
    """Functions that compute a network: images to int8, and convolutions."""

    quantize: Callable[[Tensor, Tensor], Tensor]
    convolve: Callable[[Tensor, Convolution, Tensor | None], Tensor]


EXACT = IntegerArithmetic(quantize, convolve)
