from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from qmodels.resnet import Resnet34, random_images
from qmodels.runtimes import packed
from qmodels.runtimes.format import Structure
from qmodels.variants import weight_only


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
    weights = packed.multiplied(levels, torch.tensor([0.5, 2.0]).half())
    assert weights.tolist() == [[0.5, -1.0], [6.0, 8.0]]


def test_a_network_comes_back_as_it_was_stored(tmp_path: Path, digits_model: Resnet34) -> None:
    images = random_images(20)
    made = weight_only.weight_int4(digits_model, images)
    packed.save(made, Structure("resnet34", 8, 10), tmp_path)
    blank = packed.load(tmp_path, lambda model: weight_only.weight_int4(model, None))
    with torch.inference_mode():
        assert torch.equal(blank(images), made.network(images))
        assert not torch.equal(blank(images), digits_model(images))
