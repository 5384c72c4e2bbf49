"""Convolutions of int8: against arithmetic written out, and against real numbers."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from qmodels.nvidia import integer
from qmodels.nvidia.calibration import Scale
from qmodels.nvidia.integer import Convolution
from qmodels.system.errors import UserError

IMAGES, RESULTS, RESIDUAL = Scale(0.02, -5), Scale(0.11, -100), Scale(0.07, 12)


def layer(
    *, kernel: int = 3, stride: int = 1, relu: bool = True, residual: Scale | None = None
) -> tuple[Convolution, Tensor, Tensor]:
    """A random convolution of 3 to 5 channels, and the weights and biases that it is made of."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, kernel, kernel, generator=generator)
    bias = torch.randn(5, generator=generator)
    quantized = integer.convolution(
        weight, bias, stride, IMAGES, RESULTS, relu=relu, residual=residual
    )
    return quantized, weight, bias


def integers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-128, 128, shape, generator=generator).to(torch.int8)


def real(values: Tensor, scale: Scale) -> Tensor:
    return (values.double() - scale.zero_point) * scale.scale


@pytest.mark.parametrize(
    ("kernel", "stride", "added"), [(3, 1, True), (3, 2, False), (1, 2, False)]
)
def test_the_result_is_that_of_loops_over_python_integers(
    kernel: int, stride: int, added: bool
) -> None:
    quantized, _, _ = layer(kernel=kernel, stride=stride, residual=RESIDUAL if added else None)
    x = integers(2, 5, 4, 3)
    height, width = math.ceil(5 / stride), math.ceil(4 / stride)
    residual = integers(2, height, width, 5, seed=1) if added else None
    fill, residual_multiplier, shift, lowest = quantized.numbers.tolist()
    expected = torch.empty(2, height, width, 5, dtype=torch.int8)
    for n, i, j, out in itertools.product(range(2), range(height), range(width), range(5)):
        total = 0
        for u, v, c in itertools.product(range(kernel), range(kernel), range(3)):
            y, z = i * stride + u - kernel // 2, j * stride + v - kernel // 2
            inside = 0 <= y < 5 and 0 <= z < 4
            value = int(x[n, y, z, c]) if inside else fill
            total += value * int(quantized.weight[out, u, v, c])
        total = total * int(quantized.multiplier[out]) + int(quantized.offset[out])
        if residual is not None:
            total += int(residual[n, i, j, out]) * residual_multiplier
        rounded = math.floor(Fraction(total, 2**shift))
        expected[n, i, j, out] = max(lowest, min(127, rounded))
    assert expected.unique().numel() > 10
    assert torch.equal(integer.convolve(x, quantized, residual), expected)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("added", [False, True])
def test_it_is_the_real_convolution_to_half_a_step(relu: bool, added: bool) -> None:
    """Of weights that are multiples of their step: then the one error is the last rounding."""
    residual_scale = RESIDUAL if added else None
    quantized, weight, bias = layer(relu=relu, residual=residual_scale)
    steps = weight.abs().amax((1, 2, 3)).double() / 127
    x = integers(2, 6, 6, 3)
    expected = nn.functional.conv2d(
        real(x, IMAGES).permute(0, 3, 1, 2),
        quantized.weight.permute(0, 3, 1, 2) * steps.view(-1, 1, 1, 1),
        bias.double(),
        padding=1,
    ).permute(0, 2, 3, 1)
    residual = integers(2, 6, 6, 5, seed=1) if added else None
    if residual is not None:
        expected = expected + real(residual, RESIDUAL)
    if relu:
        expected = expected.relu()
    limits = [(limit - RESULTS.zero_point) * RESULTS.scale for limit in (-128, 127)]
    got = real(integer.convolve(x, quantized, residual), RESULTS)
    error = (got - expected.clamp(*limits)).abs().max()
    assert 0.45 * RESULTS.scale < error < 0.501 * RESULTS.scale


def test_channels_without_weights_give_their_bias() -> None:
    weight, bias = torch.zeros(2, 3, 3, 3), torch.tensor([1.1, -2.2])
    quantized = integer.convolution(weight, bias, 1, IMAGES, RESULTS, relu=False)
    got = real(integer.convolve(integers(1, 4, 4, 3), quantized), RESULTS)
    assert got[0, 0, 0].tolist() == pytest.approx([1.1, -2.2])


def test_ties_are_rounded_upwards() -> None:
    weight = torch.full((1, 1, 1, 1), 127.0)
    quantized = integer.convolution(
        weight, torch.zeros(1), 1, Scale(1.0, 0), Scale(2.0, 0), relu=False
    )
    x = torch.tensor([1, -1, 0], dtype=torch.int8).view(1, 1, 3, 1)
    assert integer.convolve(x, quantized).flatten().tolist() == [64, -63, 0]  # of 63.5, -63.5 and 0


def test_images_are_rounded_to_the_nearest_integer_of_their_scale() -> None:
    images = torch.tensor([-50.0, -0.26, -0.24, 0.0, 0.26, 50.0]).view(1, 1, 2, 3)
    quantized = integer.quantize(images.expand(1, 3, 2, 3), torch.tensor([2.0, 7.5]))
    assert quantized.shape == (1, 2, 3, 3)
    assert quantized[0, :, :, 1].flatten().tolist() == [-93, 6, 7, 7, 8, 107]
    far = integer.quantize(torch.full((1, 3, 1, 2), 1e9), torch.tensor([2.0, 7.5]))
    assert far.unique().tolist() == [127]


@pytest.mark.parametrize(
    ("x", "residual"),
    [
        (torch.zeros(1, 4, 4, 4, dtype=torch.int8), None),
        (torch.zeros(4, 4, 3, dtype=torch.int8), None),
        (torch.zeros(1, 4, 4, 3), None),
        (torch.zeros(1, 4, 4, 3, dtype=torch.int8), torch.zeros(1, 4, 4, 3, dtype=torch.int8)),
        (torch.zeros(1, 4, 4, 3, dtype=torch.int8), torch.zeros(1, 4, 4, 5)),
    ],
    ids=["channels", "no batch", "float", "residual's channels", "float residual"],
)
def test_what_does_not_fit_is_one_line(x: Tensor, residual: Tensor | None) -> None:
    with pytest.raises(UserError, match=r"give it \(.*\) of torch.int8") as caught:
        integer.convolve(x, layer()[0], residual)
    assert "\n" not in str(caught.value)
