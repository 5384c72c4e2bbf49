from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.data import Dataset
from qmodels.network.evaluation import sqnr_db
from qmodels.quantize import sensitivity
from qmodels.quantize.sensitivity import Simulation
from tests import small


@pytest.fixture(scope="module")
def images(digits: Dataset) -> Tensor:
    return digits.normalize(digits.train.images[:50])


@pytest.fixture(scope="module")
def simulation(small_model: nn.Module, images: Tensor) -> Simulation:
    return Simulation(small_model, images)


def test_layers_have_the_names_of_the_float_network(
    simulation: Simulation, small_model: nn.Module
) -> None:
    modules = dict(small_model.named_modules())
    assert len(simulation.layers) == small.LAYERS
    assert set(simulation.layers) <= set(modules)


def test_a_layer_alone_costs_less_than_all_and_leaves_no_trace(simulation: Simulation) -> None:
    alone = simulation.alone("stages.0.0.conv1")
    everything = simulation.predict(simulation.layers)
    assert 0 < alone.loss < sensitivity.divergence(everything, simulation.logits)
    assert alone.sqnr_db > sqnr_db(everything, simulation.logits)
    assert torch.equal(simulation.predict(()), simulation.logits)


def test_a_layer_with_a_wild_channel_input_is_ranked_first(
    small_model: nn.Module, images: Tensor
) -> None:
    """One input in eight a thousand times the others takes all the levels there are."""
    from copy import deepcopy

    model = deepcopy(small_model)
    block: Any = model.get_submodule("stages.1.0")
    block.bn1.weight.data[0] *= 1000
    block.bn1.bias.data[0] *= 1000
    block.conv2.weight.data[:, 0] /= 1000
    with torch.inference_mode():
        torch.testing.assert_close(model(images), small_model(images), rtol=1e-3, atol=1e-3)
    ranked = sensitivity.rank(model, images)
    assert ranked[0].name == "stages.1.0.conv2"
    assert [layer.loss for layer in ranked] == sorted(
        (layer.loss for layer in ranked), reverse=True
    )
    kept = sensitivity.left_in_float(model, images, most_points=0.05)
    assert kept[0] == "stages.1.0.conv2"


def test_no_layer_is_left_in_float_where_nothing_is_lost(
    small_model: nn.Module, images: Tensor
) -> None:
    assert sensitivity.left_in_float(small_model, images, most_points=100.0) == []
    simulation = Simulation(small_model, images)
    kept = sensitivity.left_in_float(small_model, images, most_points=0.0)
    rest = [name for name in simulation.layers if name not in kept]
    logits = simulation.predict(rest)
    assert sensitivity.expected_drop(logits, simulation.logits) == 0


def test_an_expected_drop_is_the_probability_given_away() -> None:
    reference = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]).log()
    same, other = reference.clone(), reference[:, [1, 0, 2]]
    assert sensitivity.expected_drop(same, reference) == 0
    assert sensitivity.expected_drop(other, reference) == pytest.approx(100 * (0.5 + 0.1) / 2)
