"""What quantizes statically and dynamically, and what was trained to be."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels import data, variants
from qmodels.backends import torch_engine
from qmodels.data import Dataset
from qmodels.measure import memory
from qmodels.network import Network, resnet
from qmodels.system import defaults
from qmodels.variants import Artifact, qat, static
from tests import small
from tests.eager import needs_eager_quantization


def test_qat_int8_is_as_small_as_its_static_sibling_and_has_the_same_kernels(
    build: Callable[[str], Artifact],
) -> None:
    static_jit, qat = build("static-int8-jit"), build("qat-int8")
    assert qat.size_bytes == pytest.approx(static_jit.size_bytes, rel=0.01)
    image = resnet.random_images(1)
    calls = [
        {
            row.name: row.calls
            for row in memory.profile(artifact.load(), image).rows
            if row.name.startswith("quantized::")
        }
        for artifact in (static_jit, qat)
    ]
    assert calls[0] == calls[1]
    assert sum(calls[0].values()) == small.LAYERS + len(small.BLOCKS)


def quantized_layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "weight")]


@needs_eager_quantization
def test_qat_int8_has_seven_bit_weights_on_every_machine_class(
    build: Callable[[str], Artifact],
) -> None:
    converted = qat.with_ranges(small.fake_quantized(), static.EAGER)
    levels = torch.cat([m.weight().int_repr().flatten() for m in quantized_layers(converted)])
    assert int(levels.min()) >= -64
    assert 60 <= int(levels.max()) <= 63


@needs_eager_quantization
def test_static_int8_is_a_quarter_of_the_bytes(digits_network: Network) -> None:
    """Per-channel scales, not weights, keep it from a quarter at width 8."""
    static_int8, dynamic, fp32 = (
        variants.build(variants.all_variants()[name], digits_network).size_bytes
        for name in ("static-int8", "dynamic-int8", "fp32")
    )
    assert static_int8 < 0.30 * fp32
    assert dynamic < fp32


def test_the_jit_computes_what_eager_does(build: Callable[[str], Artifact], images: Tensor) -> None:
    with torch.inference_mode():
        eager, frozen = (build(name).load()(images) for name in ("static-int8", "static-int8-jit"))
    assert torch.equal(eager, frozen)


@pytest.mark.parametrize("name", ["dynamic-fp16", "dynamic-int8"])
@needs_eager_quantization
def test_dynamic_quantization_changes_linear_layers_alone(
    name: str, small_model: nn.Module
) -> None:
    quantized = variants.all_variants()[name].quantize(small_model)
    assert isinstance(quantized, nn.Module)
    before, after = dict(small_model.named_modules()), dict(quantized.named_modules())
    changed = {path for path, module in before.items() if type(module) is not type(after[path])}
    assert changed == {"head.fc"}
    state = quantized.state_dict()
    for path, value in small_model.state_dict().items():
        if not path.startswith("head.fc"):
            assert torch.equal(state[path], value)


@needs_eager_quantization
def test_weights_are_quantized_per_channel_and_activations_by_calibration(
    digits: Dataset, small_model: nn.Module
) -> None:
    calibration = digits.normalize(data.stratified_subset(digits.train, 100).images)
    quantized = static.quantize(small_model, calibration, static.EAGER)
    stem: Any = quantized.get_submodule("stem.conv")
    weight = stem.weight()
    assert weight.qscheme() == torch.per_channel_affine
    assert weight.q_per_channel_scales().unique().numel() > 1
    assert bool((weight.q_per_channel_zero_points() == 0).all())
    scales = {m.scale for m in quantized.modules() if isinstance(getattr(m, "scale", None), float)}
    assert len(scales) > small.LAYERS  # an uncalibrated activation has scale 1


@pytest.mark.parametrize("saturates", [False, True])
@needs_eager_quantization
def test_weights_get_seven_bits_where_the_engine_saturates(
    saturates: bool, small_model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_engine, "int8_saturates", lambda engine: saturates)
    images = resnet.random_images(32)
    quantized = static.quantize(small_model, images, static.EAGER)
    levels = torch.cat([m.weight().int_repr().flatten() for m in quantized_layers(quantized)])
    assert (int(levels.min()), int(levels.max())) == ((-64, 63) if saturates else (-128, 127))
    assert int(quantized.get_submodule("quantstub_x")(images).int_repr().max()) > 200, (
        "activations keep eight"
    )


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
@needs_eager_quantization
def test_both_architectures_quantize_statically(architecture: str) -> None:
    torch.manual_seed(0)
    model = resnet.build(architecture, 8, 10).eval()
    x = resnet.random_images(32)
    for module in model.modules():  # random weights, but statistics that fit them
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    model.train()(x)
    model.eval()
    quantized = static.quantize(model, x, static.EAGER)
    with torch.inference_mode():
        expected, got = model(x), quantized(x)
    noise = (got - expected).pow(2).sum() / expected.pow(2).sum()
    sqnr_db = -10 * noise.log10().item()
    assert sqnr_db > 15
    names = {row.name for row in memory.profile(quantized, x[:1]).rows}
    assert not names & {"aten::convolution", "aten::batch_norm", "aten::add"}
