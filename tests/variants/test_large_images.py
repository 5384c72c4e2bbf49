"""Quantizers and images that don't fit in memory as one batch. Ten seconds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.measure import memory
from qmodels.variants import fx, pt2e, static, weight_only
from tests.eager import needs_eager_quantization


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(1, 4, 3, stride=4, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
    )
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)).eval()


def peak(quantize: Callable[[nn.Module, Tensor], Any], model: nn.Module, count: int) -> int:
    """Bytes that torch held at once while a model was quantized with so many images."""
    images = torch.rand(count, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    with memory.allocation_profiler() as profiler:
        quantize(model, images)
    return memory.totals(profiler)[1]


@pytest.mark.parametrize(
    "quantize",
    [
        pytest.param(static.static_int8, marks=needs_eager_quantization),
        pytest.param(fx.fx_int8, marks=needs_eager_quantization),
        pt2e.pt2e_int8,
        weight_only.weight_int4,
    ],
    ids=lambda quantize: quantize.__name__,
)
def test_memory_does_not_grow_with_the_images(
    quantize: Callable[[nn.Module, Tensor], Any], model: nn.Module
) -> None:
    few, many = peak(quantize, model, 27), peak(quantize, model, 54)
    print(f"{quantize.__name__}: {few / 1e6:.0f} MB for 27 images, {many / 1e6:.0f} MB for 54")
    assert 1e6 < many < 1.05 * few
