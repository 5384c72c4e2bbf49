"""What was trained to be rounded, converted. Seconds."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.data import Dataset
from qmodels.network import evaluation, resnet
from qmodels.quantize import fake_quantize
from qmodels.system import defaults
from qmodels.training import checkpoints, on_demand
from qmodels.training.checkpoints import Checkpoint
from qmodels.variants import qat, static
from tests.eager import needs_eager_quantization
from tests.network.test_fusion import randomize


@pytest.fixture(scope="module")
def tuned(digits: Dataset, digits_checkpoint: Checkpoint) -> nn.Module:
    """The shipped quantization-aware network, fake-quantized."""
    return checkpoints.load_model(on_demand.find_or_fine_tune(digits_checkpoint, digits))


@needs_eager_quantization
def test_the_converted_model_agrees_with_the_fake_quantized_one(
    tuned: nn.Module, digits: Dataset
) -> None:
    """Not to the bit: one rounds float sums, the other integer ones, and a few fall elsewhere."""
    converted = qat.with_ranges(tuned, static.EAGER)
    images = digits.normalized(digits.test.images)
    expected, got = (evaluation.predict(model, images) for model in (tuned, converted))
    assert evaluation.sqnr_db(got, expected) > 36
    assert float((expected.argmax(dim=1) == got.argmax(dim=1)).float().mean()) > 0.995
    kinds = {type(m).__module__ for m in converted.modules() if "Conv" in type(m).__name__}
    assert all("quantized" in kind for kind in kinds)


@needs_eager_quantization
def test_weights_and_outputs_have_the_scales_that_they_were_trained_with(tuned: nn.Module) -> None:
    """torch's own observer names others than its kernel uses: 63.5 steps instead of 63 or 64."""
    converted = qat.with_ranges(tuned, static.EAGER)
    ranges: dict[str, tuple[Tensor, Tensor]] = fake_quantize.ranges(tuned)
    layers: list[tuple[str, Any]] = [
        (name, module) for name, module in converted.named_modules() if f"{name}.weight" in ranges
    ]
    assert len(layers) == 37
    for name, layer in layers:
        scale, zero_point = ranges[f"{name}.weight"]
        assert torch.equal(layer.weight().q_per_channel_scales().float(), scale)
        assert torch.equal(layer.weight().q_per_channel_zero_points().int(), zero_point)
        scale, zero_point = ranges[name]
        assert (layer.scale, layer.zero_point) == (float(scale), int(zero_point))
    sums = sorted(float(ranges[f"stages.{stage}.0"][0]) for stage in range(4))
    operations = {m.scale for n, m in converted.named_modules() if n.endswith(".functional")}
    assert operations.issuperset(sums)


@needs_eager_quantization
@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
def test_batch_norms_that_follow_no_convolution_are_converted(architecture: str) -> None:
    torch.manual_seed(0)
    images = resnet.random_images(16)
    model = fake_quantize.prepare(randomize(resnet.build(architecture, 4, 10))).eval()
    with torch.inference_mode():
        model(images)
        fake_quantize.observe(model, enabled=False)
        assert evaluation.sqnr_db(qat.with_ranges(model, static.EAGER)(images), model(images)) > 25
