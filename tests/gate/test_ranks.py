import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from qmodels.gate import ranks
from qmodels.gate.ranks import Flips, Ranks
from qmodels.system import codec
from qmodels.system.errors import UserError

LABELS = np.arange(200) % 7


def collect(evaluated: list[int], wrong: int, labels: NDArray[np.int64] = LABELS) -> Ranks:
    """As if the first images of a test split were wrong, whichever are evaluated."""
    positions = np.array(evaluated)
    return ranks.collect(labels, positions, (positions < wrong).astype(np.int64))


def test_images_are_compared_by_position_in_any_order_and_any_part() -> None:
    everything = list(range(len(LABELS)))
    before = collect(everything, 30)
    assert ranks.flips(collect(everything[::-1], 30), before, "top1") == Flips(200, 0, 0)
    part = [150, 3, 40, 70, 31]
    assert ranks.flips(collect(part, 30), before, "top1") == Flips(5, 0, 0)
    assert ranks.flips(collect(part, 60), before, "top1") == Flips(5, 2, 0)
    assert ranks.flips(collect(part, 0), before, "top1") == Flips(5, 0, 1)


def test_other_labels_are_another_split() -> None:
    same, other = collect([0], 0), collect([0], 0, np.roll(LABELS, 1))
    assert same.images == collect([5, 6], 3).images != other.images


@given(st.lists(st.integers(0, 255), min_size=1, max_size=50))
def test_a_record_comes_back_the_same(values: list[int]) -> None:
    kept = Ranks("digest", torch.tensor(values, dtype=torch.uint8).numpy())
    back = codec.decode(Ranks, codec.encode(kept))
    assert back.images == kept.images
    assert back.values.tolist() == values


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({}, "images: it is missing"),
        ({"images": "a", "packed": "?"}, "packed: expected an array of uint8, packed"),
        ({"images": "a", "packed": 3}, "packed: expected an array of uint8, packed"),
    ],
)
def test_damaged_predictions_are_refused(record: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        codec.decode(Ranks, record)


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_p_value_is_that_of_the_binomial_test(lost: int, won: int) -> None:
    exact = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert Flips(1000, lost, won).p_value == pytest.approx(exact)


def test_the_p_value_is_that_of_a_coin() -> None:
    assert Flips(10_000, 10, 0).p_value == pytest.approx(0.5**10)
    assert Flips(10_000, 0, 0).p_value == 1.0
    assert Flips(10_000, 50, 48).p_value > 0.4
    assert Flips(10_000, 40, 10).loss == pytest.approx(0.3)


def test_the_least_visible_loss_is_the_least_that_the_test_calls() -> None:
    least = ranks.least_visible(2000, 0.01)
    images = round(least * 2000 / 100)
    assert Flips(2000, images, 0).p_value <= 0.01 < Flips(2000, images - 1, 0).p_value
