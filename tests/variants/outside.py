"""A network as another package defines it: grey images, no residuals, no quantization stubs."""

from functools import partial

import torch
from torch import Tensor, nn

from qmodels.data import Dataset, Split
from qmodels.network import Call, Network


class Sides(nn.Module):
    """Which side of a grey image is brighter."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d((1, 2))
        self.classify = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.pool(self.features(x)).flatten(1))
        return logits


def structure() -> Sides:
    return Sides().eval()


def trained() -> Sides:
    """Weights that need no training: each half's brightness is one logit."""
    model = structure()
    with torch.no_grad():
        model.get_parameter("features.0.weight").abs_()
        model.classify.weight.zero_()
        for side in (0, 1):
            model.classify.weight[side, side::2] = 1.0
    return model.requires_grad_(False)


def images(count: int) -> Split:
    """Noise (count, 1, 20, 24), brighter on the left of class 0, on the right of class 1."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 128, (count, 1, 20, 24), generator=generator)
    labels = torch.arange(count) % 2
    pixels[labels == 0, :, :, :12] += 60
    pixels[labels == 1, :, :, 12:] += 60
    return Split(pixels.to(torch.uint8), labels)


def network() -> Network:
    dataset = Dataset(
        name="sides",
        classes=2,
        test=images(120),
        calibration=images(60),
        load_train=lambda: images(60),
        mean=(0.37,),
        std=(0.2,),
        mirrors=False,
    )
    return Network(
        name="sides",
        sha256="0" * 64,
        dataset=dataset,
        load=partial(trained),
        structure=Call(f"{__name__}:structure", {}),
        reopen=Call(f"{__name__}:network", {}),
    )
