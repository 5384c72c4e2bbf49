import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.data import Dataset
from qmodels.measure import memory
from qmodels.network import resnet
from qmodels.quantize import fake_quantize
from qmodels.system import defaults
from qmodels.training import checkpoints, loop, on_demand
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.gradients import Accumulator
from qmodels.training.recipes import FINE_TUNING
from qmodels.training.state import State
from tests.network.test_fusion import randomize


@pytest.fixture(scope="module")
def tuned(digits: Dataset, digits_checkpoint: Checkpoint) -> nn.Module:
    """The shipped quantization-aware network, fake-quantized."""
    return checkpoints.load_model(on_demand.find_or_fine_tune(digits_checkpoint, digits))


def sqnr(signal: Tensor, other: Tensor) -> float:
    """Signal to quantization noise, in dB."""
    return float(10 * torch.log10(signal.square().sum() / (signal - other).square().sum()))


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
def test_weights_activations_and_residual_sums_are_fake_quantized(architecture: str) -> None:
    model = fake_quantize.prepare(resnet.build(architecture, 4, 10))
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, fake_quantize.FakeQuantize)
    ]
    weights = [name for name in names if name.endswith(".weight_fake_quant")]
    sums = [name for name in names if name.endswith(".add.activation_post_process")]
    # With the images, the linear layer, and what leaves a batch norm that follows no convolution.
    others = 2 if architecture == "resnet34" else 19
    assert (len(weights), len(sums), len(names)) == (37, 16, 37 + 16 + 36 + others)


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
@pytest.mark.parametrize("training", [False, True])
def test_without_rounding_it_is_the_float_model_with_batch_norms_alive(
    architecture: str, training: bool
) -> None:
    model = randomize(resnet.build(architecture, 4, 10))
    prepared = fake_quantize.prepare(model)
    assert prepared.training
    assert not model.training
    alive = [module for module in prepared.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(alive) == (36 if architecture == "resnet34" else 33)
    for module in prepared.modules():
        if isinstance(module, fake_quantize.FakeQuantize):
            module.fake_quant_enabled[0] = 0
    images = resnet.random_images(4)
    with torch.no_grad():
        expected = model.train(training)(images)
        noise = (prepared.train(training)(images) - expected).norm() / expected.norm()
    assert noise < 1e-4


def test_it_starts_as_the_float_model_it_came_from(
    digits_model: nn.Module, digits: Dataset
) -> None:
    images = digits.normalize(digits.test.images[:64])
    model = fake_quantize.prepare(digits_model)
    with torch.no_grad():
        model(images)  # one batch of which to learn the ranges
        fake_quantize.observe(model, enabled=False)
        model.eval()
        assert sqnr(digits_model(images), model(images)) > 20
    assert not digits_model.training, "the model given is left as it was"


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
def test_the_float_network_has_its_weights_and_batch_norms(architecture: str) -> None:
    torch.manual_seed(0)
    images = resnet.random_images(16)
    model = fake_quantize.prepare(randomize(resnet.build(architecture, 4, 10))).eval()
    with torch.no_grad():
        rounded, plain = model(images), fake_quantize.to_float(model)(images)
    assert sqnr(plain, rounded) > 20
    for name, (scale, zero_point) in fake_quantize.ranges(model).items():
        if name.endswith(".weight"):
            weight = fake_quantize.to_float(model).get_parameter(name).flatten(1)
            levels = weight / scale[:, None] + zero_point[:, None]
            torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)


def test_what_passes_a_convolution_is_on_the_grid_of_its_scale(
    tuned: nn.Module, digits: Dataset
) -> None:
    seen: dict[str, Tensor] = {}
    convolution: Any = tuned.get_submodule("stages.1.0.conv1")
    handle = convolution.register_forward_hook(lambda m, inputs, out: seen.update(out=out))
    with torch.no_grad():
        tuned(digits.normalize(digits.test.images[:8]))
    handle.remove()
    steps = seen["out"] / convolution.activation_post_process.scale
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    assert 20 < len(steps.round().unique()) <= 256


def test_frozen_ranges_do_not_follow_what_passes_and_others_do(
    tuned: nn.Module, digits: Dataset
) -> None:
    model = fake_quantize.prepare(resnet.build("resnet34", 4, 10))
    images = digits.normalize(digits.train.images[:16])

    def ranges() -> Tensor:
        return torch.cat([v.flatten() for k, v in model.state_dict().items() if "scale" in k])

    with torch.no_grad():
        model(images)
        first = ranges()
        fake_quantize.observe(model, enabled=False)
        model(3 * images)
        assert torch.equal(ranges(), first)
        fake_quantize.observe(model, enabled=True)
        model(3 * images)
        assert not torch.equal(ranges(), first)


def test_a_step_at_the_studys_width_fits_many_times_into_its_sixteen_gigabytes() -> None:
    """Weights, gradients and momentum in it; ranges frozen, when the whole batch passes at once.

    A quarter of the study's batch, which takes a quarter of the memory for activations.
    """
    batch = 32
    recipe = FINE_TUNING["fine-tune"]
    images = resnet.random_images(batch)
    with memory.allocation_profiler() as profiler:
        model = fake_quantize.prepare(resnet.build("resnet34", 64, 100))
        model.to(memory_format=torch.channels_last)
        optimizer = loop.sgd(model, recipe)
        State(model, optimizer, None).tensors()  # makes the momentum
        loop.enter_epoch(model, recipe, recipe.epochs - 1)
        Accumulator(batch, print).backward(
            model,
            lambda x, targets: nn.functional.cross_entropy(model(x), targets, reduction="sum"),
            images,
            torch.eye(100).repeat(2, 1)[:batch],
            most_images=None,
        )
        optimizer.step()
    _, peak = memory.totals(profiler)
    print(f"peak of a step at width 64, batch {batch}: {peak / 1e9:.2f} GB")
    parameters = 21_328_292
    assert 4 * 3 * parameters < peak < 2e9


def test_weights_stored_as_levels_compute_the_same(tuned: nn.Module, digits: Dataset) -> None:
    model = copy.deepcopy(tuned)
    with torch.no_grad():
        model.get_parameter("stages.1.0.conv1.bn.weight")[0] *= -1  # batch norms may negate
    stored = fake_quantize.to_levels(model.state_dict())
    levels = {name: value for name, value in stored.items() if value.dtype == torch.int8}
    assert len(levels) == 37
    zero_points = {int(v.max()) for name, v in stored.items() if name.endswith("quant.zero_point")}
    assert zero_points > {0}, "some channel's weights have one sign"
    assert all(value.shape == model.get_parameter(name).shape for name, value in levels.items())
    lowest, highest = fake_quantize.WEIGHT_RANGE
    assert all(lowest <= int(v.min()) and int(v.max()) <= highest for v in levels.values())
    again = fake_quantize.to_levels(fake_quantize.from_levels(stored))
    assert all(torch.equal(stored[name], again[name]) for name in stored)
    restored = copy.deepcopy(tuned)
    restored.load_state_dict(fake_quantize.from_levels(stored))
    images = digits.normalize(digits.test.images[:64])
    with torch.no_grad():
        assert torch.equal(restored(images), model(images))
