"""Recipes: everything that decides how a network is trained, but the seed, under a name.

A recipe is recorded whole with every checkpoint it made, and is frozen: a change gets another name.
Changes are chosen on a part of the training split, never on the test split.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from qmodels.system.errors import UserError


@dataclass(frozen=True)
class ResizeStage:
    """Some epochs at one image size, in pixels; smaller images make cheaper epochs."""

    epochs: int
    image_size: int


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum 0.9; weight decay spares batch norms and biases.

    Attributes:
        peak_rate: learning rate, reached after the first ``warmup`` (a share of all steps).
        schedule: what comes after: the rate stays, falls linearly to zero (Smith, "Super-
            convergence", 2018), or along half a cosine (Loshchilov and Hutter, "SGDR", 2017).
        label_smoothing: share of each target that is spread over all classes.
        crop_padding: pixels of reflection that random crops are cut from.
        alternating_mirror: mirror an image in every other epoch instead of at random (Jordan,
            "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024).
        cutmix: probability that a batch is mixed (Yun et al., "CutMix", 2019).
        cutmix_until: share of the epochs after which no batch is mixed.
        averaging: epochs over which weights are averaged, exponentially (Polyak and Juditsky,
            1992); batch norm statistics are then computed anew. 0 keeps the last weights.
        batch_norm_until: share of the epochs after which batch norm statistics are frozen.
        observers_until: share of the epochs after which the ranges of quantization are frozen.
        statistics_batch: images that batch norms and observers see at a time while they are not
            frozen, so that less memory does not mean another training; None for the whole batch.
        distillation: weight of the teacher's logits in the loss (Hinton et al., "Distilling the
            knowledge in a neural network", 2015); the rest is that of the labels.
        temperature: of that distillation.
    """

    name: str
    stages: tuple[ResizeStage, ...]
    batch_size: int
    peak_rate: float
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = 0.0
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    crop_padding: int = 4
    alternating_mirror: bool = False
    cutmix: float = 0.0
    cutmix_until: float = 1.0
    averaging: float = 0.0
    batch_norm_until: float = 1.0
    observers_until: float = 1.0
    statistics_batch: int | None = None
    distillation: float = 0.0
    temperature: float = 4.0

    @property
    def epochs(self) -> int:
        """Epochs over all stages."""
        return sum(stage.epochs for stage in self.stages)

    def image_size(self, epoch: int) -> int:
        """Image size of an epoch, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.image_size
            epoch -= stage.epochs
        return self.stages[-1].image_size

    def before(self, share: float, epoch: int) -> bool:
        """Whether an epoch, counted from 0, lies within the first ``share`` of them all.

        A share that is not 0 lasts an epoch at least.
        """
        return epoch < max(math.ceil(share), round(share * self.epochs))

    def lr(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, of all the steps of the training."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.peak_rate * (step + 1) / rising
        if self.schedule == "constant":
            return self.peak_rate
        left = (steps - step) / (steps - rising + 1)
        if self.schedule == "linear":
            return self.peak_rate * left
        return self.peak_rate * (1 - math.cos(math.pi * left)) / 2

    def with_epochs(self, epochs: int) -> "Recipe":
        """The same recipe stretched or shortened; the name says by how many epochs.

        Raises:
            UserError: too few epochs for its stages.
        """
        if epochs == self.epochs:
            return self
        if epochs < len(self.stages):
            raise UserError(
                f"{epochs} epochs are too few for recipe {self.name}: choose {len(self.stages)} "
                "or more, one for each of its image sizes"
            )
        stages = []
        left, original = epochs, self.epochs
        for index, stage in enumerate(self.stages):
            later = len(self.stages) - index - 1
            share = min(max(1, round(left * stage.epochs / original)), left - later)
            stages.append(replace(stage, epochs=share))
            left, original = left - share, original - stage.epochs
        return replace(self, name=f"{self.name}-{epochs}e", stages=tuple(stages))


def _by_name(*recipes: Recipe) -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in recipes}


# What 60 epochs on a GPU make best.
_DEFAULT = Recipe(
    "default",
    (ResizeStage(60, 32),),
    batch_size=256,
    peak_rate=0.2,
    warmup=0.15,
    label_smoothing=0.1,
    alternating_mirror=True,
    cutmix=0.5,
    cutmix_until=52 / 60,
    averaging=1.0,
)

RECIPES = _by_name(
    _DEFAULT,
    # A small network follows a larger one of the same classes.
    replace(_DEFAULT, name="distilled", distillation=0.7),
    # The study's own, which ended at 73.15 %. No other schedule was tried for as many epochs.
    Recipe(
        "report",
        (ResizeStage(60, 32),),
        batch_size=32,
        peak_rate=0.1,
        schedule="constant",
    ),
    # Two cores: progressive resizing spends the first epochs where they are cheap.
    Recipe(
        "compact-cpu",
        (ResizeStage(8, 16), ResizeStage(12, 24), ResizeStage(24, 32)),
        batch_size=128,
        peak_rate=0.15,
        warmup=0.25,
        label_smoothing=0.05,
    ),
    # The study's width in hours instead of days: fewer epochs, more of them on small images.
    Recipe(
        "wide-cpu",
        (ResizeStage(8, 16), ResizeStage(8, 24), ResizeStage(8, 32)),
        batch_size=128,
        peak_rate=0.1,
        warmup=0.2,
        label_smoothing=0.1,
    ),
    # Seconds at width 8: quick enough to train when a checkpoint is missing.
    Recipe(
        "digits", (ResizeStage(12, 32),), batch_size=64, peak_rate=0.1, warmup=0.25, crop_padding=2
    ),
)

# From a checkpoint, quantization-aware or, as its control, in float. Statistics and ranges settle
# first and are frozen then (Krishnamoorthi, "Quantizing deep convolutional networks for efficient
# inference", 2018, section 4.2).
_FINE_TUNE = Recipe(
    "fine-tune",
    (ResizeStage(8, 32),),
    batch_size=128,
    peak_rate=2e-3,
    schedule="cosine",
    batch_norm_until=2 / 8,
    observers_until=3 / 8,
    statistics_batch=32,
)
FINE_TUNING = _by_name(_FINE_TUNE, replace(_FINE_TUNE, name="distill", distillation=0.7))
