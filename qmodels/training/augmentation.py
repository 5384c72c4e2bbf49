"""Augmentation on the device that trains: crops, mirroring, resizing, CutMix.

Random numbers are drawn on the CPU, so that every device draws the same.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional


def crop_and_mirror(images: Tensor, mirrored: Tensor, padding: int, generator: Generator) -> Tensor:
    """Random crops of the reflection-padded images, some of them mirrored.

    Args:
        images: (N, C, H, W) uint8.
        mirrored: (N,) bool, on the CPU: which images to mirror.
        padding: pixels of reflection on each side, that crops may reach into.

    Returns:
        (N, C, H, W) float32, values as in ``images``.
    """
    count, channels, height, width = images.shape
    device = images.device
    padded = functional.pad(images.float(), (padding,) * 4, mode="reflect")
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    return padded[
        torch.arange(count, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[None, :, None, None],
        rows.to(device)[:, None, :, None],
        columns.to(device)[:, None, None, :],
    ]


def resize(images: Tensor, size: int) -> Tensor:
    """Images (N, C, H, W) float32 as (N, C, size, size), antialiased."""
    if images.shape[-1] == size:
        return images
    return functional.interpolate(
        images, size=size, mode="bilinear", antialias=True, align_corners=False
    )


def cutmix(images: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Replace one box of every image by that of another, and mix their targets by area.

    Args:
        images: (N, C, H, W) float32.
        targets: (N, classes) float32, each row a distribution.
    """
    height, width = images.shape[-2:]
    side = math.sqrt(float(torch.rand((), generator=generator)))
    row, column = torch.rand(2, generator=generator).tolist()
    top, bottom = _span(row * height, side * height, height)
    left, right = _span(column * width, side * width, width)
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / (height * width)
    return mixed, (1 - share) * targets + share * targets[partner]


def _span(center: float, length: float, size: int) -> tuple[int, int]:
    return max(0, round(center - length / 2)), min(size, round(center + length / 2))
