from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qmodels import variants
from qmodels.data import Dataset
from qmodels.measure import layers
from qmodels.network import Network
from qmodels.variants import Artifact
from tests import outside, small

NAMES = ("static-int8", "static-int8-onednn", "onnx-int8", "openvino-int8", "pt2e-int8")


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_its_noise(
    name: str, digits: Dataset, small_network: Network, small_model: nn.Module
) -> None:
    variant = variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    artifact = variants.build(variant, small_network)
    images = digits.normalize(digits.test.images[:20])
    noises = layers.noise(
        artifact, small_model, images, quantize=lambda: variants.quantize(variant, small_network)
    )
    assert len({noise.layer for noise in noises}) == small.LAYERS
    assert noises[0].layer == "stem.conv"
    assert noises[-1].layer == "head.fc"
    # Outputs of another layer, or before its ReLU, would be below 10.
    assert min(noise.quantization_db for noise in noises) > 25
    if variant.backend.name == "inductor":
        assert {noise.runtime_db for noise in noises} == {None}
        assert layers.noise(artifact, small_model, images) == []
        return
    # Runtimes differ from reference arithmetic by rounding, much less than quantization does.
    closer = sum((noise.runtime_db or 0) > noise.quantization_db for noise in noises)
    assert closer > 0.8 * small.LAYERS


@pytest.mark.parametrize("name", ["onnx-int8", "openvino-int8", "pt2e-int8"])
def test_a_relu_that_is_not_declared_as_fused_is_no_noise(name: str, tmp_path: Path) -> None:
    network, variant = outside.opened(), variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    # A package shows no activation, so it is not looked at.
    folder = tmp_path if name == "pt2e-int8" else variants.build(variant, network).folder
    artifact, images = Artifact(variant, folder), network.test_images[:20]
    noises = layers.noise(
        artifact, network.load(), images, quantize=lambda: variants.quantize(variant, network)
    )
    assert [noise.layer for noise in noises] == ["features.0", "classify"]
    assert min(noise.quantization_db for noise in noises) > 20


class Residual(nn.Module):
    """A block whose sum is the output of none of the modules that its last layer is directly in."""

    def __init__(self) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.path(x) + self.shortcut(x))


@pytest.mark.parametrize("name", ["static-int8-jit", "static-int8-onednn"])
def test_a_kernel_gives_the_output_behind_what_is_fused_with_it(name: str) -> None:
    variant = variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    torch.manual_seed(0)
    images = torch.rand(20, 1, 8, 8)
    module = nn.Sequential(Residual(), nn.Flatten(), nn.Linear(256, 2))
    module(images)  # its batch norms
    module.eval()
    network = Network("residual", module, images, (images, torch.zeros(20, dtype=torch.int64)))
    noises = layers.noise(variants.build(variant, network), module, images)
    assert len(noises) == 4
    assert min(noise.quantization_db for noise in noises) > 20


def test_float_variants_have_none(
    digits: Dataset, small_network: Network, small_model: nn.Module
) -> None:
    artifact = variants.build(variants.all_variants()["fp32"], small_network)
    assert layers.noise(artifact, small_model, digits.normalize(digits.test.images[:2])) == []
