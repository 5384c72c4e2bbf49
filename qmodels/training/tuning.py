"""What each ingredient of a recipe is worth: trained with it and without, on a held-out part.

A tenth of the training split is held out and the rest trains; the test split is never looked at,
because what was chosen by it no longer measures anything.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.console import Console

from qmodels import data
from qmodels.data import Dataset
from qmodels.system.errors import UserError
from qmodels.training.loop import Job, train
from qmodels.training.recipes import RECIPES, Recipe

DEFAULT = RECIPES["default"]


@dataclass(frozen=True)
class Ingredient:
    """One thing that a recipe has or lacks: how to tell, to add it, to leave it out."""

    name: str
    present: Callable[[Recipe], bool]
    add: Callable[[Recipe], Recipe]
    leave_out: Callable[[Recipe], Recipe]


INGREDIENTS = {
    one.name: one
    for one in (
        Ingredient(
            "schedule",
            lambda r: r.schedule != "constant",
            lambda r: replace(r, schedule="linear", warmup=DEFAULT.warmup),
            lambda r: replace(r, schedule="constant"),
        ),
        Ingredient(
            "label-smoothing",
            lambda r: r.label_smoothing > 0,
            lambda r: replace(r, label_smoothing=DEFAULT.label_smoothing),
            lambda r: replace(r, label_smoothing=0.0),
        ),
        Ingredient(
            "cutmix",
            lambda r: r.cutmix > 0,
            lambda r: replace(r, cutmix=DEFAULT.cutmix, cutmix_until=DEFAULT.cutmix_until),
            lambda r: replace(r, cutmix=0.0),
        ),
        Ingredient(
            "averaging",
            lambda r: r.averaging > 0,
            lambda r: replace(r, averaging=DEFAULT.averaging),
            lambda r: replace(r, averaging=0.0),
        ),
        Ingredient(
            "alternating-mirror",
            lambda r: r.alternating_mirror,
            lambda r: replace(r, alternating_mirror=True),
            lambda r: replace(r, alternating_mirror=False),
        ),
    )
}


@dataclass(frozen=True)
class Effect:
    """Held-out top-1 in percent with an ingredient and without, a number a seed."""

    ingredient: str
    with_it: tuple[float, ...]
    without_it: tuple[float, ...]

    @property
    def points(self) -> tuple[float, ...]:
        """What it is worth, seed by seed."""
        return tuple(a - b for a, b in zip(self.with_it, self.without_it, strict=True))

    @property
    def mean(self) -> float:
        """What it is worth on average."""
        return statistics.fmean(self.points)


def effects(
    dataset: Dataset,
    architecture: str,
    width: int,
    recipe: Recipe,
    names: Sequence[str],
    seeds: int,
    *,
    console: Console | None = None,
) -> list[Effect]:
    """Train a recipe as it is, and with one ingredient changed at a time.

    Finished trainings are kept in the cache, so that a killed comparison goes on. All of one seed
    come before the next seed.

    Raises:
        UserError: an unknown ingredient, and whatever training raises.
    """
    for name in names:
        if name not in INGREDIENTS:
            raise UserError(f"unknown ingredient {name!r}: choose from {', '.join(INGREDIENTS)}")
    held_out = data.for_tuning(dataset)
    top1: dict[str, list[float]] = {}
    for seed in range(seeds):
        for changed in (recipe, *(variation(recipe, name) for name in names)):
            job = Job(held_out, architecture, width, changed, seed)
            top1.setdefault(changed.name, []).append(train(job, console=console).top1)
    found = []
    for name in names:
        here, there = tuple(top1[recipe.name]), tuple(top1[variation(recipe, name).name])
        pair = (here, there) if INGREDIENTS[name].present(recipe) else (there, here)
        found.append(Effect(name, *pair))
    return found


def variation(recipe: Recipe, name: str) -> Recipe:
    """A recipe without an ingredient it has, or with one that it lacks."""
    ingredient = INGREDIENTS[name]
    if ingredient.present(recipe):
        return replace(ingredient.leave_out(recipe), name=f"{recipe.name}-without-{name}")
    return replace(ingredient.add(recipe), name=f"{recipe.name}-with-{name}")


def table(found: Sequence[Effect]) -> str:
    """The effects in Markdown; a difference counts only where every seed shows its sign."""
    lines = [
        "| Ingredient | With (%) | Without (%) | Worth (points) | Every seed agrees |",
        "| --- | --: | --: | --: | --- |",
    ]
    for effect in found:
        agree = len(effect.points) > 1 and len({point > 0 for point in effect.points}) == 1
        cells = (
            effect.ingredient,
            " ".join(f"{value:.2f}" for value in effect.with_it),
            " ".join(f"{value:.2f}" for value in effect.without_it),
            f"{effect.mean:+.2f}",
            "yes" if agree else "no" if len(effect.points) > 1 else "one seed",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
