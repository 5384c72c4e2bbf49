import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from qmodels.data import Dataset, Split
from qmodels.gate import ranks
from qmodels.gate.ranks import Flips, Ranks
from qmodels.system.errors import UserError


def collect(whole: Split, evaluated: Split, wrong: int) -> Ranks:
    """As if the images of some digest were wrong: the same ones in any order."""
    digests = evaluated.digests()
    ranked = np.array([int(digest[0] < wrong) for digest in digests])
    return ranks.collect(whole.digests(), digests, ranked)


def test_images_are_known_by_content_in_any_order_and_any_part(digits: Dataset) -> None:
    whole = digits.test
    shuffled = whole.take(torch.randperm(len(whole), generator=torch.Generator().manual_seed(1)))
    before = collect(whole, whole, 30)
    reordered = collect(shuffled, shuffled, 30)
    assert reordered.images == before.images
    assert ranks.flips(reordered, before, "top1") == Flips(len(whole), 0, 0)
    part = shuffled.first(100)
    seen = ranks.flips(collect(shuffled, part, 30), before, "top1")
    assert seen == Flips(100, 0, 0)
    worse = ranks.flips(collect(shuffled, part, 60), before, "top1")
    assert worse.won == 0
    assert worse.lost > 5


def test_other_images_or_labels_are_another_split(digits: Dataset) -> None:
    whole = digits.test
    relabelled = Split(whole.images, whole.labels.roll(1))
    images, relabelled_images = (collect(split, split, 0).images for split in (whole, relabelled))
    assert images != relabelled_images


@given(st.lists(st.integers(0, 255), min_size=1, max_size=50))
def test_a_record_comes_back_the_same(values: list[int]) -> None:
    kept = Ranks("digest", torch.tensor(values, dtype=torch.uint8).numpy())
    back = Ranks.from_record(kept.as_record())
    assert back.images == kept.images
    assert back.values.tolist() == values


@pytest.mark.parametrize(
    "record", [{}, {"images": "a", "packed": "?"}, {"images": "a", "packed": 3}]
)
def test_damaged_predictions_are_refused(record: dict[str, object]) -> None:
    with pytest.raises(UserError, match="damaged"):
        Ranks.from_record(record)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_p_value_is_that_of_the_binomial_test(lost: int, won: int) -> None:
    exact = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert Flips(1000, lost, won).p_value == pytest.approx(exact)


def test_the_p_value_is_that_of_a_coin() -> None:
    assert Flips(10_000, 10, 0).p_value == pytest.approx(0.5**10)
    assert Flips(10_000, 0, 0).p_value == 1.0
    assert Flips(10_000, 50, 48).p_value > 0.4
    assert Flips(10_000, 40, 10).points == pytest.approx(0.3)


def test_the_least_visible_loss_is_the_least_that_the_test_calls() -> None:
    least = ranks.least_visible(2000, 0.01)
    images = round(least * 2000 / 100)
    assert Flips(2000, images, 0).p_value <= 0.01 < Flips(2000, images - 1, 0).p_value
