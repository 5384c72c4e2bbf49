"""The training images as batches: drawn, augmented, normalized, with their targets."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from qmodels.data import Dataset
from qmodels.training import augmentation
from qmodels.training.recipes import Recipe


@dataclass(frozen=True)
class TrainLoader:
    """The whole training split on the device that trains, as uint8.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        mirrored_first: (N,) bool, on the CPU: which images an alternating recipe mirrors in its
            first epoch, and in every other one after it.
    """

    dataset: Dataset
    recipe: Recipe
    images: Tensor
    labels: Tensor
    memory_format: torch.memory_format
    mirrored_first: Tensor

    def augment(self, chosen: Tensor, epoch: int, generator: Generator) -> Tensor:
        """Augmented images (M, C, H, W) float32 of positions (M,) int64, for an epoch from 0."""
        if not self.dataset.hflip:
            mirrored = torch.zeros(len(chosen), dtype=torch.bool)
        elif self.recipe.alternating_mirror:
            mirrored = self.mirrored_first[chosen] ^ (epoch % 2 == 1)
        else:
            mirrored = torch.rand(len(chosen), generator=generator) < 0.5
        images = augmentation.crop_and_mirror(
            self.images[chosen.to(self.images.device)],
            mirrored,
            self.recipe.crop_padding,
            generator,
        )
        images = augmentation.resize(images, self.recipe.image_size(epoch))
        return self.dataset.normalize(images).contiguous(memory_format=self.memory_format)

    def batch(self, chosen: Tensor, epoch: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augmented images and their targets (M, classes) float32, mixed where the recipe mixes."""
        images = self.augment(chosen, epoch, generator)
        labels = self.labels[chosen.to(self.labels.device)]
        targets = functional.one_hot(labels, self.dataset.classes).float()
        recipe = self.recipe
        if (
            recipe.cutmix
            and recipe.before(recipe.cutmix_until, epoch)
            and torch.rand((), generator=generator) < recipe.cutmix
        ):
            return augmentation.cutmix(images, targets, generator)
        return images, targets


def load(
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> TrainLoader:
    """Put the training split on a device."""
    split = dataset.train
    return TrainLoader(
        dataset,
        recipe,
        split.images.to(device),
        split.labels.to(device),
        memory_format,
        torch.rand(len(split), generator=Generator().manual_seed(seed)) < 0.5,
    )
