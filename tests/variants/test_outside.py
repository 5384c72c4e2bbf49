"""Any network is quantized as ResNet-34 is, of other images and by another package."""

from dataclasses import replace

import pytest
import torch

from qmodels import variants
from qmodels.network import evaluation
from qmodels.system.errors import Unavailable, UserError
from qmodels.variants.artifact import open_artifact
from tests import outside
from tests.eager import needs_eager_quantization


@pytest.mark.parametrize(
    ("name", "int8"),
    [
        ("fp32", 0.0),
        ("static-int8", 1.0),
        ("static-int8-jit", 1.0),
        ("fx-int8", 1.0),
        ("onnx-int8", 1.0),
        ("openvino-int8", 1.0),
    ],
)
def test_a_network_of_another_package_is_built_loaded_and_right(name: str, int8: float) -> None:
    network, variant = outside.opened(), variants.all_variants()[name]
    reason = variant.unavailable_reason()
    if reason:
        pytest.skip(reason)
    artifact = open_artifact(variants.build(variant, network).folder)
    assert artifact.input_shape == (1, 20, 24)
    forward = artifact.load()
    logits = evaluation.predict(forward, network.test_images)
    assert evaluation.accuracy(logits, network.labels)[0] == 100
    with torch.inference_mode():
        ran = variant.backend.kernels(forward, artifact, artifact.example(1))
    macs = sum(kernel.macs for kernel in ran)
    assert macs == 20 * 24 * 8 * 25 + 16 * 2
    assert sum(kernel.macs for kernel in ran if kernel.int8) == int8 * macs


def test_another_process_refuses_a_network_with_other_images() -> None:
    network, variant = outside.opened(), variants.all_variants()["onnx-int8"]
    if variant.unavailable_reason():
        pytest.skip(str(variant.unavailable_reason()))
    with pytest.raises(UserError, match="outside:network returns other weights or images than"):
        variants.build(variant, replace(network, calibration=outside.images(30)[0]))


@needs_eager_quantization
def test_what_a_network_lacks_is_one_line() -> None:
    network, known = outside.opened(), variants.all_variants()
    with pytest.raises(Unavailable, match="sides has no quantization-aware sibling: choose"):
        variants.build(known["qat-int8"], network)
