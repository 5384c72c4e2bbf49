import pytest
from torch import nn

from qmodels import variants
from qmodels.data import Dataset
from qmodels.measure import layers
from qmodels.network import Network
from tests import outside

NAMES = ("static-int8", "static-int8-onednn", "onnx-int8", "openvino-int8", "pt2e-int8")


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_its_noise(
    name: str, digits: Dataset, digits_network: Network, digits_model: nn.Module
) -> None:
    variant = variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    artifact = variants.build(variant, digits_network)
    images = digits.normalize(digits.test.images[:20])
    noises = layers.noise(
        artifact, digits_model, images, quantize=lambda: variants.quantize(variant, digits_network)
    )
    assert len({noise.layer for noise in noises}) == 37
    assert noises[0].layer == "stem.conv"
    assert noises[-1].layer == "head.fc"
    # Outputs of another layer, or before its ReLU, would be below 10.
    assert min(noise.quantization_db for noise in noises) > 25
    if variant.backend.name == "inductor":
        assert {noise.runtime_db for noise in noises} == {None}
        assert layers.noise(artifact, digits_model, images) == []
        return
    # Runtimes differ from reference arithmetic by rounding, much less than quantization does.
    assert sum((noise.runtime_db or 0) > noise.quantization_db for noise in noises) > 30


@pytest.mark.parametrize("name", ["onnx-int8", "openvino-int8", "pt2e-int8"])
def test_a_relu_that_is_not_declared_as_fused_is_no_noise(name: str) -> None:
    network, variant = outside.opened(), variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    artifact = variants.build(variant, network)
    images = network.test_images[:20]
    noises = layers.noise(
        artifact, network.load(), images, quantize=lambda: variants.quantize(variant, network)
    )
    assert [noise.layer for noise in noises] == ["features.0", "classify"]
    assert min(noise.quantization_db for noise in noises) > 20


def test_float_variants_have_none(
    digits: Dataset, digits_network: Network, digits_model: nn.Module
) -> None:
    artifact = variants.build(variants.all_variants()["fp32"], digits_network)
    assert layers.noise(artifact, digits_model, digits.normalize(digits.test.images[:2])) == []
