"""Scales of activations: of what, and which."""

from typing import Any

import pytest
import torch
from torch import Tensor

from qmodels.network import resnet
from qmodels.network.fusion import fuse
from qmodels.nvidia import calibration, integer_network
from qmodels.nvidia.residual import ResidualNetwork, residual_network


@pytest.fixture(scope="module")
def network() -> ResidualNetwork:
    torch.manual_seed(0)
    return residual_network(fuse(resnet.build("resnet34", 4, 10).eval()))


@pytest.fixture(scope="module")
def outputs(network: ResidualNetwork) -> dict[str, Tensor]:
    """What some modules give, by the names of their scales."""
    whole: Any = network.module
    block = whole.stages[1][0]
    modules = {
        **{"stem": whole.stem, "stages.1.0.conv1": block.relu1},
        **{"stages.1.0.shortcut": block.shortcut, "stages.1.0": block},
    }
    outputs: dict[str, Tensor] = {"quant": resnet.random_images(16)}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, x, y, name=name: outputs.update({name: y}))
    with torch.inference_mode():
        network.module(resnet.random_images(16))
    return outputs


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_scale_covers_what_is_rounded(
    network: ResidualNetwork, outputs: dict[str, Tensor], symmetric: bool
) -> None:
    images = resnet.random_images(16)
    scales = calibration.scales(network, images, symmetric=symmetric)
    assert len(scales) == 2 + 16 * 2 + 3
    for name, values in list(outputs.items())[:5]:
        lowest, highest = min(0.0, float(values.min())), float(values.max())
        if symmetric:
            assert scales[name].zero_point == 0
            widest = 2 * max(-lowest, highest)
        else:
            assert (scales[name].zero_point == -128) == (lowest == 0)
            widest = highest - lowest
        # Histograms leave out what is so rare that rounding the rest finer is worth more.
        assert 0.4 * widest < 255 * scales[name].scale < 1.01 * widest, name


def test_a_network_of_integers_rounds_its_images_to_nearest(network: ResidualNetwork) -> None:
    images = resnet.random_images(16)
    image = calibration.scales(network, images, symmetric=False)["quant"]
    quantized = integer_network.quantize(network, images)
    rounded = quantized.arithmetic.quantize(images, quantized.steps).permute(0, 3, 1, 2)
    error = (rounded.double() - image.zero_point) * image.scale - images
    inside = rounded.abs() < 127
    assert 0.49 * image.scale < error[inside].abs().max() < 0.501 * image.scale
