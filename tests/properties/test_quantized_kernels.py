"""The int8 kernels compute what their definition says, to one step of the output's scale."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from qmodels.backends import torch_engine
from tests.eager import OBSTACLE

if OBSTACLE:
    pytest.skip(OBSTACLE.reason, allow_module_level=True)
ENGINE = torch_engine.default_engine()
# Where the engine saturates, weights use seven bits: the range that the variants use there.
LOWEST, HIGHEST = (-64, 63) if torch_engine.int8_saturates(ENGINE) else (-128, 127)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, int, int, float, int]:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    channels, out_channels = draw(st.integers(1, 40)), draw(st.integers(1, 20))
    kernel = draw(st.sampled_from([1, 3]))
    weight_shape = (out_channels, channels, kernel, kernel)
    levels = torch.randint(LOWEST, HIGHEST + 1, weight_shape, generator=generator).to(torch.int8)
    scales = torch.rand(out_channels, generator=generator).double() * 0.1 + 1e-3
    zero_point = draw(st.integers(0, 128))
    weight = torch._make_per_channel_quantized_tensor(
        levels, scales, torch.zeros(out_channels, dtype=torch.int64), 0
    )
    batch = draw(st.sampled_from([1, 3]))
    image = torch.randint(0, 256, (batch, channels, 7, 7), generator=generator)
    x = torch._make_per_tensor_quantized_tensor(image.to(torch.uint8), 0.02, zero_point)
    bias = torch.randn(out_channels, generator=generator)
    exact = functional.conv2d(x.dequantize().double(), weight.dequantize().double())
    out_scale = max(float(exact.abs().max()) / 200, 1e-3)
    return (
        x,
        weight,
        bias,
        draw(st.integers(1, 2)),
        draw(st.integers(0, 1)),
        out_scale,
        draw(st.integers(0, 128)),
    )


@given(convolutions())
@settings(max_examples=100, deadline=None)
def test_fused_and_unfused_int8_are_within_one_step_of_the_exact_result(
    drawn: tuple[Tensor, Tensor, Tensor, int, int, float, int],
) -> None:
    x, weight, bias, stride, padding, scale, zero_point = drawn
    with torch_engine.quantized_engine(ENGINE):
        packed = torch.ops.quantized.conv2d_prepack(
            weight, bias, [stride] * 2, [padding] * 2, [1, 1], 1
        )
        fused = torch.ops.quantized.conv2d_relu.new(x, packed, scale, zero_point)
        unfused = torch.ops.quantized.conv2d.new(x, packed, scale, zero_point).relu()
    exact = functional.conv2d(
        x.dequantize().double(), weight.dequantize().double(), bias.double(), stride, padding
    ).relu()
    steps = (exact / scale + zero_point).round().clamp(0, 255)
    for result in (fused, unfused):
        assert (result.int_repr().double() - steps).abs().max() <= 1
    difference = fused.int_repr().int() - unfused.int_repr().int()
    assert difference.abs().max() <= 1
