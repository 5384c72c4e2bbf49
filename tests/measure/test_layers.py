import pytest
from torch import nn

from qmodels import variants
from qmodels.data import Dataset
from qmodels.measure import layers
from qmodels.network import Network


@pytest.mark.parametrize("name", ["static-int8", "static-int8-onednn"])
def test_every_layer_has_its_noise(
    name: str, digits: Dataset, digits_network: Network, digits_model: nn.Module
) -> None:
    variant = variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    artifact = variants.build(variant, digits_network)
    images = digits.normalize(digits.test.images[:20])
    noises = layers.noise(artifact, digits_model, images)
    assert len({noise.layer for noise in noises}) == 37
    assert noises[0].layer == "stem.conv"
    assert noises[-1].layer == "head.fc"
    assert min(noise.quantization_db for noise in noises) > 10
    # Runtimes differ from reference arithmetic by rounding, much less than quantization does.
    assert sum(noise.runtime_db > noise.quantization_db for noise in noises) > 30


def test_float_variants_have_none(
    digits: Dataset, digits_network: Network, digits_model: nn.Module
) -> None:
    artifact = variants.build(variants.all_variants()["fp32"], digits_network)
    assert layers.noise(artifact, digits_model, digits.normalize(digits.test.images[:2])) == []
