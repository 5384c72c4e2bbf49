import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qmodels.measure import accuracy


def predicting(labels: list[int]) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(labels), 10).float()


def test_a_drop_counts_images_lost_less_images_won() -> None:
    truth = [0] * 100
    reference = predicting([0] * 80 + [1] * 20)
    variant = predicting([1] * 5 + [0] * 75 + [0] * 2 + [1] * 18)
    metrics = accuracy.metrics(variant, reference, torch.tensor(truth))
    assert metrics["top1"].value == pytest.approx(77)
    assert metrics["top1_drop"].value == pytest.approx(3)
    low, high = metrics["top1_drop"].ci or (0, 0)
    assert low < 3 < high
    assert low < 0, "seven disagreements in a hundred prove nothing"


def test_many_more_lost_than_won_is_seen() -> None:
    truth = [0] * 1000
    reference, variant = predicting([0] * 1000), predicting([1] * 30 + [0] * 970)
    low, high = accuracy.metrics(variant, reference, torch.tensor(truth))["top1_drop"].ci or (0, 0)
    assert 1.5 < low < 3.0 < high < 4.5


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_the_interval_holds_the_estimate_and_turns_with_the_sides(
    answers: list[tuple[int, int]],
) -> None:
    truth = torch.zeros(len(answers), dtype=torch.int64)
    now, before = (predicting(list(side)) for side in zip(*answers, strict=True))
    drop, (low, high) = accuracy.paired_drop(now, before, truth)
    mirrored, (mirrored_low, mirrored_high) = accuracy.paired_drop(before, now, truth)
    assert low <= drop <= high or abs(drop) > 90  # shrunk towards zero for few images
    assert mirrored == -drop
    assert (mirrored_low, mirrored_high) == pytest.approx((-high, -low))


def test_fidelity_is_perfect_of_the_same_and_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    fp32 = torch.randn(50, 10, generator=generator)
    same = accuracy.fidelity(fp32, fp32)
    assert same["top1_agreement"].value == 100
    assert same["sqnr_db"].value == 100
    noise = torch.randn(50, 10, generator=generator)
    other = accuracy.fidelity(fp32 + noise * fp32.norm() / noise.norm() * 10**-0.5, fp32)
    assert other["sqnr_db"].value == pytest.approx(10, abs=0.1)
    assert other["top1_agreement"].value < 100
