from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from qmodels.backends import packed
from qmodels.backends.base import Stored
from qmodels.network.fusion import fuse
from qmodels.network.resnet import random_images
from qmodels.variants import weight_only
from tests import small


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=50))
def test_four_bits_come_back(levels: list[int]) -> None:
    values = torch.tensor(levels, dtype=torch.int8)
    halves = packed.pack(values)
    assert halves.dtype == torch.uint8
    assert len(halves) == (len(levels) + 1) // 2
    assert torch.equal(packed.unpack(halves, [len(levels)]), values)


def test_shapes_come_back() -> None:
    values = torch.randint(-8, 8, (5, 3, 3, 3), dtype=torch.int8)
    assert torch.equal(packed.unpack(packed.pack(values), [5, 3, 3, 3]), values)


def test_levels_are_multiplied_by_their_channels_scale() -> None:
    levels = torch.tensor([[1, -2], [3, 4]], dtype=torch.int8)
    weights = packed.dequantize(levels, torch.tensor([0.5, 2.0]).half())
    assert weights.tolist() == [[0.5, -1.0], [6.0, 8.0]]


def test_a_network_comes_back_as_it_was_stored(
    save: Callable[..., Stored], small_model: nn.Module
) -> None:
    images = random_images(20)
    rounded = weight_only.weight_int4(small_model, images)
    files = save(packed.BACKEND, rounded, lambda: fuse(small.model()))
    loaded = packed.BACKEND.load(files)
    with torch.inference_mode():
        assert torch.equal(loaded(images), rounded.network(images))
        assert not torch.equal(loaded(images), small_model(images))
