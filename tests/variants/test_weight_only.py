"""Rounding weights to four bits for the inputs of their layers. Five seconds."""

from typing import Any

import pytest
import torch
from torch import nn

from qmodels.data import Dataset
from qmodels.network.evaluation import sqnr_db
from qmodels.variants import weight_only


def test_rounding_for_the_inputs_is_better_than_to_the_nearest(
    digits: Dataset, small_model: nn.Module
) -> None:
    weight = small_model.get_parameter("stages.0.0.conv2.weight")
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(10, weight[0].numel(), generator=generator)
    inputs = torch.randn(500, 10, generator=generator) @ mixing  # that go together
    levels, scales = weight_only.round_weights(weight, inputs.T @ inputs, 4)
    rows, step = weight.detach().flatten(1), scales.float()[:, None]
    nearest = (rows / step).round().clamp(-8, 7)
    errors = [
        float((inputs @ (some * step - rows).T).norm()) for some in (levels.flatten(1), nearest)
    ]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("block", [1, 16, 50])
def test_columns_in_blocks_are_rounded_as_one_by_one(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weight, inputs = torch.randn(8, 50), torch.randn(400, 50) @ torch.randn(50, 50)
    alone, _ = weight_only.round_weights(weight, inputs.T @ inputs, 4)
    monkeypatch.setattr(weight_only, "BLOCK", block)
    in_blocks, _ = weight_only.round_weights(weight, inputs.T @ inputs, 4)
    assert torch.equal(in_blocks, alone)


@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (1, 3), "padding": (0, 1), "stride": (2, 1)},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 2},
        {"kernel_size": (4, 2), "padding": "same", "groups": 4},
        {"kernel_size": 3, "padding": "valid", "dilation": (1, 2)},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_windows_times_weights_are_the_convolution(geometry: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, bias=False, **geometry)
    x = torch.randn(3, 4, 9, 7)
    windows = weight_only.windows(layer, x)  # (N, positions, inputs)
    groups = zip(windows.chunk(layer.groups, 2), layer.weight.chunk(layer.groups), strict=True)
    product = torch.cat([inputs @ weight.flatten(1).T for inputs, weight in groups], dim=2)
    wanted = layer(x)
    torch.testing.assert_close(product.transpose(1, 2).reshape(wanted.shape), wanted)


@pytest.mark.parametrize("groups", [1, 4, 8])
def test_each_group_is_rounded_for_its_own_inputs(groups: int) -> None:
    """Channels that are always 0, as some are behind a ReLU, are no obstacle."""
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 8, 1)
    grouped = nn.Conv2d(8, 16, 3, padding=1, groups=groups)
    stem.get_parameter("bias").data[::2] = -100
    layers = stem, nn.ReLU(), grouped, nn.ReLU(), nn.Conv2d(16, 10, 5), nn.Flatten()
    model = nn.Sequential(*layers).eval()
    images = torch.randn(64, 3, 5, 5)
    rounded = weight_only.weight_int4(model, images)
    assert rounded.levels["2.weight"].shape == grouped.weight.shape
    assert -8 <= rounded.levels["2.weight"].min() <= rounded.levels["2.weight"].max() <= 7
    with torch.inference_mode():
        assert sqnr_db(rounded.network(images), model(images)) > 20


def test_windows_enough_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of large images has more of them than its sums need."""
    layer, images = nn.Conv2d(3, 4, 3), torch.randn(300, 3, 8, 8)
    monkeypatch.setattr(weight_only, "MOST_WINDOWS", 150 * 36)
    sums = weight_only.squared_inputs(layer, {"layer": layer}, images)["layer"]
    seen = weight_only.windows(layer, images[:200]).flatten(0, 1)  # two batches
    torch.testing.assert_close(sums, (seen.T @ seen)[None], rtol=1e-4, atol=0.1)


def test_a_network_of_one_layer_keeps_eight_bits() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10)).eval()
    rounded = weight_only.weight_int4(model, torch.randn(20, 3, 4, 4))
    assert rounded.levels["1.weight"].abs().max() > 100
