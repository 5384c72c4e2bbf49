from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from qmodels.gate import Entry, Finding, scores
from qmodels.gate.entry import decode_by_image
from qmodels.gate.ranks import Ranks
from qmodels.gate.scores import Differences, Scores
from qmodels.measure.metrics import METRICS
from qmodels.system import codec
from qmodels.system.errors import UserError
from tests.gate.entries import compare, entry, holding


def kept(values: NDArray[np.float64], images: str = "digest") -> Scores:
    return scores.collect(images, len(values), np.arange(len(values)), values)


def scored(values: NDArray[np.float64], images: str = "digest") -> Entry:
    mean = METRICS["score"].of(float(values.mean()))
    return replace(entry(score=mean), by_image=kept(values, images))


def judged(
    now: NDArray[np.float64], before: NDArray[np.float64], images: str = "digest"
) -> list[Finding]:
    return compare(scored(now), holding(scored(before, images)))


def test_images_that_only_one_run_evaluated_are_left_out() -> None:
    before = scores.collect("a", 5, np.array([0, 1, 2]), np.array([0.5, 0.5, 0.5]))
    now = scores.collect("a", 5, np.array([1, 2, 4]), np.array([0.25, 0.75, 0.1]))
    change = scores.differences(now, before)
    assert (change.images, change.lost, change.won, change.loss) == (2, 1, 1, 0.0)
    assert change.reverse.losses.tolist() == [-0.25, 0.25]


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=50))
def test_a_record_comes_back_the_same(values: list[float]) -> None:
    back = decode_by_image(codec.encode(kept(np.array(values))))
    assert isinstance(back, Scores)
    assert back.images == "digest"
    assert back.values.tolist() == values
    assert isinstance(decode_by_image(codec.encode(Ranks("a", np.zeros(3, np.uint8)))), Ranks)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"scores": "eJwDAAAAAAE="}, "images: it is missing"),
        ({"images": "a", "scores": "eJw="}, "scores: expected an array of float32, packed"),
    ],
)
def test_damaged_scores_are_refused(record: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=f"^{said}$"):
        decode_by_image(record)


@given(st.integers(0, 30), st.integers(0, 30))
def test_scores_of_0_and_1_are_judged_as_right_and_wrong_answers(lost: int, won: int) -> None:
    change = Differences(np.array([1.0] * lost + [-1.0] * won + [0.0] * 5))
    exact = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert change.p_value == pytest.approx(exact)


def test_chance_of_unchanged_scores_is_as_often_below_a_level_as_it_says() -> None:
    generator = np.random.default_rng(0)
    p_values = [Differences(generator.normal(size=300)).p_value for _ in range(400)]
    assert 0.01 < np.mean(np.array(p_values) < 0.05) < 0.1
    assert Differences(np.zeros(9)).p_value == 1.0


@pytest.mark.parametrize(
    ("shift", "noise", "verdict"),
    [
        (0.0, 0.0, "ok"),
        (0.0, 0.05, "ok"),  # images move, their mean does not
        (0.002, 0.01, "regressed"),
        (0.0002, 0.0, "ok"),  # every image loses, less than is tolerated
        (-0.002, 0.01, "improved"),
    ],
)
def test_a_score_is_judged_image_by_image(shift: float, noise: float, verdict: str) -> None:
    generator = np.random.default_rng(1)
    before = generator.uniform(0.5, 1, size=2000)
    now = before - shift + noise * generator.normal(size=2000)
    findings = judged(now, before)
    assert [finding.verdict for finding in findings] == [verdict]
    assert "images worse and" in findings[0].change


def test_a_loss_that_one_image_explains_is_no_regression() -> None:
    before = np.full(1000, 0.8)
    now = before.copy()
    now[0] -= 3.0
    assert [finding.verdict for finding in judged(now, before)] == ["ok"]


def test_other_targets_are_not_compared() -> None:
    values = np.linspace(0, 1, 10)
    (finding,) = judged(values, values, "another")
    assert finding.verdict == "missing"
    assert "other test images" in finding.context


def test_scores_of_another_length_are_compared_by_value() -> None:
    values = np.linspace(0, 1, 10)
    worse = replace(scored(values[:-1]), metrics={"score": METRICS["score"].of(0.1)})
    (finding,) = compare(worse, holding(scored(values)))
    assert finding.verdict == "regressed"
    assert "images worse" not in finding.change
