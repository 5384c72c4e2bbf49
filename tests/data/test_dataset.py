import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qmodels import data
from qmodels.data.dataset import Dataset
from qmodels.system.errors import UserError


def test_digits_are_whole_and_split_without_overlap(digits: Dataset) -> None:
    assert digits.train.images.shape == (1201, 3, 32, 32)
    assert digits.test.images.shape == (596, 3, 32, 32)
    assert digits.calibration.images.shape == (1000, 3, 32, 32)
    assert digits.train.images.dtype == torch.uint8
    assert int(digits.train.labels.bincount().min()) >= 115
    train = {image.numpy().tobytes() for image in digits.train.images}
    test = {image.numpy().tobytes() for image in digits.test.images}
    assert not train & test


def test_normalized_training_images_have_mean_0_and_variance_1(digits: Dataset) -> None:
    normalized = digits.normalize(digits.train.images)
    assert normalized.mean().item() == pytest.approx(0, abs=1e-3)
    assert normalized.std().item() == pytest.approx(1, abs=1e-3)


def test_unknown_data_set_is_refused() -> None:
    with pytest.raises(UserError, match="'imagenet': choose one of cifar100, digits"):
        data.load("imagenet")


@given(count=st.integers(1, 1201), seed=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_subsets_are_stratified_and_repeatable(count: int, seed: int) -> None:
    split = data.load("digits").train
    subset = data.stratified_subset(split, count, seed=seed)
    again = data.stratified_subset(split, count, seed=seed)
    assert len(subset) == count
    assert torch.equal(subset.images, again.images)
    available = split.labels.bincount(minlength=10)
    drawn = subset.labels.bincount(minlength=10)
    # Equal shares, but for classes that have run out.
    short_of = drawn < drawn.max() - 1
    assert torch.equal(drawn[short_of], available[short_of])


@pytest.mark.parametrize("count", [0, -1, 1202])
def test_a_subset_larger_than_the_split_is_refused(digits: Dataset, count: int) -> None:
    with pytest.raises(UserError, match="choose from 1 to 1201"):
        data.stratified_subset(digits.train, count)
