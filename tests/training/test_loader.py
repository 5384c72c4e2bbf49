from dataclasses import replace

import pytest
import torch
from torch import Generator

from qmodels.data import Dataset
from qmodels.training import loader
from qmodels.training.loader import TrainLoader
from qmodels.training.recipes import Recipe, ResizeStage

PLAIN = Recipe("plain", (ResizeStage(10, 32),), batch_size=16, peak_rate=0.1, crop_padding=0)
CPU = torch.device("cpu")
CHOSEN = torch.arange(64)


def load(dataset: Dataset, recipe: Recipe) -> TrainLoader:
    return loader.load(replace(dataset, hflip=True), recipe, 0, CPU)


def mirrored(data: TrainLoader, epoch: int) -> torch.Tensor:
    """Which of the first images an epoch mirrors; crops are off."""
    got = data.augment(CHOSEN, epoch, Generator().manual_seed(epoch))
    upright = data.dataset.normalize(data.images[CHOSEN])
    flipped = (got == upright.flip(3)).flatten(1).all(dim=1)
    assert bool((flipped | (got == upright).flatten(1).all(dim=1)).all())
    return flipped


def test_alternating_mirrors_show_each_image_both_ways_in_two_epochs(digits: Dataset) -> None:
    data = load(digits, replace(PLAIN, alternating_mirror=True))
    first, second, third = (mirrored(data, epoch) for epoch in range(3))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert 20 < int(first.sum()) < 44


def test_random_mirrors_are_drawn_for_each_epoch(digits: Dataset) -> None:
    data = load(digits, PLAIN)
    first, second = mirrored(data, 0), mirrored(data, 1)
    assert not torch.equal(first, ~second)
    assert not torch.equal(first, second)
    assert 20 < int(first.sum()) < 44


@pytest.mark.parametrize("alternating", [False, True])
def test_digits_are_never_mirrored(digits: Dataset, alternating: bool) -> None:
    data = loader.load(digits, replace(PLAIN, alternating_mirror=alternating), 0, CPU)
    for epoch in range(2):
        got = data.augment(CHOSEN, epoch, Generator())
        assert torch.equal(got, digits.normalize(data.images[CHOSEN]))


def test_batches_are_mixed_with_their_probability_until_the_recipe_stops(digits: Dataset) -> None:
    data = load(digits, replace(PLAIN, cutmix=0.5, cutmix_until=0.8))

    def mixed(epoch: int) -> int:
        batches = (data.batch(CHOSEN, epoch, Generator().manual_seed(seed)) for seed in range(40))
        return sum(bool((targets.amax(dim=1) < 1).any()) for _, targets in batches)

    assert 10 < mixed(0) < 30
    assert 10 < mixed(7) < 30
    assert mixed(8) == 0


def test_the_same_generator_draws_the_same(digits: Dataset) -> None:
    data = load(digits, replace(PLAIN, crop_padding=4, cutmix=1.0))
    first, again, third = (
        data.batch(CHOSEN, 3, Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], third[0])
