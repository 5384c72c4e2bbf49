import json
from dataclasses import asdict

import pytest

from qmodels.system import codec
from qmodels.system.errors import UserError
from qmodels.training.recipes import FINE_TUNING, RECIPES, Recipe, ResizeStage

QUICK = Recipe(
    "quick", (ResizeStage(1, 16), ResizeStage(2, 32)), batch_size=100, peak_rate=0.1, warmup=0.3
)
EVERYTHING = {**RECIPES, **FINE_TUNING}


def test_a_recipe_knows_its_image_size() -> None:
    assert QUICK.epochs == 3
    assert [QUICK.image_size(epoch) for epoch in range(3)] == [16, 32, 32]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_annealed_rates_rise_to_the_peak_and_fall_to_nothing(schedule: str) -> None:
    recipe = Recipe("r", (ResizeStage(1, 32),), 1, 0.1, schedule=schedule, warmup=0.3)  # type: ignore[arg-type]
    rates = [recipe.lr(step, 100) for step in range(100)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 29
    assert rates[:30] == sorted(rates[:30])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert 0 < rates[-1] < 0.002
    middle = rates[65]
    assert middle == pytest.approx(0.05, abs=0.002)
    if schedule == "cosine":  # stays high longer, and low longer
        assert rates[45] > 0.085 > 0.08 > 0.1 * (100 - 45) / 71
        assert rates[90] < 0.1 * (100 - 90) / 71


def test_the_studys_rate_is_constant() -> None:
    report = RECIPES["report"]
    assert {report.lr(step, 50) for step in range(50)} == {0.1}
    assert (report.epochs, report.batch_size) == (60, 32)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_recipe_comes_back_from_json(name: str) -> None:
    recipe = EVERYTHING[name]
    assert recipe.name == name
    assert codec.decode(Recipe, json.loads(json.dumps(asdict(recipe)))) == recipe


@pytest.mark.parametrize("epochs", [3, 5, 11, 44, 88])
def test_another_length_keeps_every_stage_and_says_so(epochs: int) -> None:
    recipe = RECIPES["compact-cpu"].with_epochs(epochs)
    assert recipe.epochs == epochs
    assert [stage.image_size for stage in recipe.stages] == [16, 24, 32]
    assert all(stage.epochs >= 1 for stage in recipe.stages)
    assert recipe.name == ("compact-cpu" if epochs == 44 else f"compact-cpu-{epochs}e")


def test_twice_the_epochs_are_twice_each_stage() -> None:
    assert RECIPES["compact-cpu"].with_epochs(88).stages == (
        ResizeStage(16, 16),
        ResizeStage(24, 24),
        ResizeStage(48, 32),
    )


def test_too_few_epochs_are_refused() -> None:
    with pytest.raises(UserError, match="2 epochs are too few for recipe compact-cpu: choose 3"):
        RECIPES["compact-cpu"].with_epochs(2)


def test_shares_of_the_epochs() -> None:
    recipe = FINE_TUNING["fine-tune"]
    assert [recipe.before(recipe.batch_norm_until, epoch) for epoch in range(8)].count(True) == 2
    assert [recipe.before(recipe.observers_until, epoch) for epoch in range(8)].count(True) == 3
    for epochs in (1, 2):
        short = recipe.with_epochs(epochs)
        for share in (short.batch_norm_until, short.observers_until):
            active = [short.before(share, epoch) for epoch in range(epochs)]
            assert active == [True, False][:epochs], "an active phase lasts an epoch at least"
    assert not recipe.before(0.0, 0)
    default = RECIPES["default"]
    mixed = [default.before(default.cutmix_until, epoch) for epoch in range(60)]
    assert mixed == [True] * 52 + [False] * 8
