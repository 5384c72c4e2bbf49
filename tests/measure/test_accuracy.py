import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qmodels.measure import accuracy
from qmodels.network.evaluation import Predictions, Scored
from qmodels.system.errors import UserError


def predicting(answers: list[int]) -> Predictions:
    """Predictions of images whose right class is 0."""
    logits = torch.nn.functional.one_hot(torch.tensor(answers), 10).float()
    return Predictions(logits, torch.zeros(len(answers), dtype=torch.int64))


def scored(scores: Tensor, outputs: Tensor | None = None) -> Scored:
    return Scored(scores.double(), torch.ones(1) if outputs is None else outputs, None)


def test_a_drop_counts_images_lost_less_images_won() -> None:
    reference = predicting([0] * 80 + [1] * 20)
    variant = predicting([1] * 5 + [0] * 75 + [0] * 2 + [1] * 18)
    metrics = accuracy.metrics(variant, reference)
    assert metrics["top1"].value == pytest.approx(77)
    assert metrics["top1_drop"].value == pytest.approx(3)
    low, high = metrics["top1_drop"].ci or (0, 0)
    assert low < 3 < high
    assert low < 0, "seven disagreements in a hundred prove nothing"


def test_many_more_lost_than_won_is_seen() -> None:
    reference, variant = predicting([0] * 1000), predicting([1] * 30 + [0] * 970)
    low, high = accuracy.metrics(variant, reference)["top1_drop"].ci or (0, 0)
    assert 1.5 < low < 3.0 < high < 4.5


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_the_interval_holds_the_estimate_and_turns_with_the_sides(
    answers: list[tuple[int, int]],
) -> None:
    now, before = (predicting(list(side)) for side in zip(*answers, strict=True))
    drop, mirrored = (
        accuracy.metrics(*pair)["top1_drop"] for pair in ((now, before), (before, now))
    )
    low, high = drop.ci or (0, 0)
    assert low <= drop.value <= high or abs(drop.value) > 90  # shrunk to zero for few images
    assert mirrored.value == -drop.value
    assert mirrored.ci == pytest.approx((-high, -low))


def test_a_drop_of_scores_is_in_percent_of_their_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    before = 20 + 10 * torch.rand(4000, generator=generator).double()
    now = before - 0.5 + 0.1 * torch.randn(4000, generator=generator)
    metrics = accuracy.metrics(scored(now), scored(before))
    assert metrics["score"].value == pytest.approx(float(now.mean()))
    assert metrics["score_drop"].value == pytest.approx(2.0, abs=0.05)  # 0.5 of 25
    low, high = metrics["score_drop"].ci or (0, 0)
    assert low < metrics["score_drop"].value < high < low + 0.1
    negative = accuracy.metrics(scored(now - 100), scored(before - 100))
    assert negative["score_drop"].value == pytest.approx(100 * 0.5 / 75, abs=0.05)
    with pytest.raises(UserError, match="mean score of fp32 is 0"):
        accuracy.metrics(scored(now), scored(0 * before))


def test_scores_of_0_and_1_have_the_interval_of_right_answers() -> None:
    reference, variant = predicting([0] * 90 + [1] * 10), predicting([0] * 85 + [1] * 15)
    top1 = accuracy.metrics(variant, reference)["top1_drop"]
    as_scores = accuracy.metrics(scored(variant.scores), scored(reference.scores))["score_drop"]
    assert as_scores.value == pytest.approx(top1.value / 0.9)
    assert as_scores.ci == pytest.approx(tuple(end / 0.9 for end in top1.ci or ()))


def test_fidelity_is_perfect_of_the_same_and_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(50, dtype=torch.int64)
    fp32 = torch.randn(50, 10, generator=generator)
    same = accuracy.fidelity(Predictions(fp32, labels), Predictions(fp32, labels))
    assert same["top1_agreement"].value == 100
    assert same["sqnr_db"].value == 100
    noise = torch.randn(50, 10, generator=generator)
    noisy = fp32 + noise * fp32.norm() / noise.norm() * 10**-0.5
    other = accuracy.fidelity(Predictions(noisy, labels), Predictions(fp32, labels))
    assert other["sqnr_db"].value == pytest.approx(10, abs=0.1)
    assert other["top1_agreement"].value < 100
    of_outputs = accuracy.fidelity(scored(labels, noisy), scored(labels, fp32))
    assert of_outputs == {"sqnr_db": other["sqnr_db"]}
