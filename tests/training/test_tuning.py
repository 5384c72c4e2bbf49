from pathlib import Path

import pytest
import torch

from qmodels import data
from qmodels.data import Dataset, Split
from qmodels.system.errors import UserError
from qmodels.training import checkpoints, tuning
from qmodels.training.recipes import RECIPES, Recipe, Stage
from qmodels.training.tuning import INGREDIENTS, Effect

QUICK = Recipe("quick", (Stage(1, 16),), batch_size=50, peak_rate=0.1, warmup=0.3)


def test_a_tenth_of_the_training_split_is_held_out_and_the_test_split_is_gone(
    digits: Dataset,
) -> None:
    tuned = data.for_tuning(digits)
    assert tuned.name == "digits-tuning"
    assert len(tuned.train) + len(tuned.test) == len(digits.train)
    assert len(tuned.test) == len(digits.train) // 10
    share = tuned.test.labels.bincount() / digits.train.labels.bincount()
    assert float(share.min()) > 0.09
    assert float(share.max()) < 0.11

    def keys(split: Split) -> set[bytes]:
        return {image.numpy().tobytes() for image in split.images}

    assert not keys(tuned.test) & keys(tuned.train)
    assert keys(tuned.test) | keys(tuned.train) == keys(digits.train)
    assert torch.equal(tuned.test.labels, data.for_tuning(digits).test.labels)


@pytest.mark.parametrize("name", INGREDIENTS)
@pytest.mark.parametrize("recipe", ["default", "compact-cpu"])
def test_each_ingredient_can_be_added_and_left_out(name: str, recipe: str) -> None:
    ingredient = INGREDIENTS[name]
    before = RECIPES[recipe]
    changed = tuning.variation(before, name)
    assert ingredient.present(changed) != ingredient.present(before)
    assert changed.name != before.name
    others = [other for other in INGREDIENTS.values() if other is not ingredient]
    assert all(other.present(changed) == other.present(before) for other in others)


def test_effects_are_with_minus_without_and_nothing_is_trained_twice(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    few = digits.with_train(digits.train.first(200))
    names = ["schedule", "averaging"]
    found = tuning.effects(few, "resnet34", 4, QUICK, names, 2)
    records = checkpoints.read_index(tmp_path / "checkpoints")
    assert len(records) == 6
    assert {one.dataset for one in records} == {"digits-tuning"}
    accuracies = {(one.recipe.name, one.seed): one.top1 for one in records}
    schedule, averaging = found
    assert schedule.with_it == tuple(accuracies["quick", seed] for seed in (0, 1))
    assert schedule.without_it == tuple(
        accuracies["quick-without-schedule", seed] for seed in (0, 1)
    )
    assert averaging.without_it == schedule.with_it
    assert averaging.with_it == tuple(accuracies["quick-with-averaging", seed] for seed in (0, 1))
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").iterdir()}
    assert tuning.effects(few, "resnet34", 4, QUICK, names, 2) == found
    assert stamps == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoints").iterdir()
    }


def test_an_unknown_ingredient_is_one_line(digits: Dataset) -> None:
    with pytest.raises(UserError, match="unknown ingredient 'mixup': choose from schedule"):
        tuning.effects(digits, "resnet34", 4, QUICK, ["mixup"], 1)


@pytest.mark.parametrize(
    ("with_it", "agree"),
    [((71.0, 72.0), "yes"), ((71.0, 69.0), "no"), ((71.0,), "one seed")],
)
def test_the_table_claims_only_what_every_seed_shows(
    with_it: tuple[float, ...], agree: str
) -> None:
    effect = Effect("cutmix", with_it, (70.0,) * len(with_it))
    row = tuning.table([effect]).splitlines()[-1]
    assert row.startswith("| cutmix | 71.00")
    assert row.endswith(f"| {agree} |")
    assert f"{effect.mean:+.2f}" in row
