"""Networks that nobody tuned quantization for, at 224 pixels: six of torchvision and a small U-Net.

Weights are random. Batch norms have the statistics of images, so that activations are as large as
in a trained network. Labels and targets are the float network's own outputs: accuracy is the share
of images on which a variant agrees with it.
"""

import copy
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision import models

import qmodels
from qmodels import data

SIZE = 224
CALIBRATION = range(64)
TEST = range(1000, 1040)
STATISTICS = range(32)


class Images:
    """Some test images of CIFAR-100, enlarged: in color (3, 224, 224), or grey (1, 224, 224)."""

    def __init__(self, positions: range, channels: int = 3) -> None:
        self.positions = positions
        self.channels = channels

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> Tensor:
        dataset = cifar100()
        small = dataset.normalize(dataset.test.images[self.positions[index]][None])
        large = nn.functional.interpolate(small, size=SIZE, mode="bilinear")[0]
        return large if self.channels == 3 else large.mean(0, keepdim=True)

    def batch(self) -> Tensor:
        """All of them, (N, C, 224, 224)."""
        return torch.stack([self[index] for index in range(len(self))])


@cache
def cifar100() -> data.Dataset:
    return data.load("cifar100")


def describe(
    name: str,
    build: Callable[[], nn.Module],
    *,
    channels: int = 3,
    target: Callable[[Tensor], Tensor],
    score: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> qmodels.Network:
    """A network with random weights, whose targets come from its own outputs."""

    @cache
    def first() -> nn.Module:
        torch.manual_seed(0)
        return with_statistics(build(), Images(STATISTICS, channels).batch())

    def test() -> tuple[Images, Tensor]:
        images = Images(TEST, channels)
        with torch.inference_mode():
            return images, target(torch.cat([first()(image) for image in images.batch().split(1)]))

    return qmodels.Network(
        name=name,
        module=lambda: copy.deepcopy(first()),
        calibration=Images(CALIBRATION, channels),
        test=test,
        score=score,
    )


def with_statistics(module: nn.Module, images: Tensor) -> nn.Module:
    """The module in eval mode, its batch norms with the statistics of the images."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0  # those of the last batch, which is the only one
    with torch.no_grad():
        module.train()(images)
    return module.eval()


def of_torchvision(name: str) -> qmodels.Network:
    """A classifier of torchvision."""
    build = partial(models.get_model, name, weights=None)
    return describe(name, build, target=lambda logits: logits.argmax(1))


def resnet18() -> qmodels.Network:
    return of_torchvision("resnet18")


def mobilenet_v2() -> qmodels.Network:
    return of_torchvision("mobilenet_v2")


def efficientnet_b0() -> qmodels.Network:
    return of_torchvision("efficientnet_b0")


def regnet_y_400mf() -> qmodels.Network:
    return of_torchvision("regnet_y_400mf")


def shufflenet_v2_x0_5() -> qmodels.Network:
    return of_torchvision("shufflenet_v2_x0_5")


def densenet121() -> qmodels.Network:
    return of_torchvision("densenet121")


class UNet(nn.Module):
    """Grey images (N, 1, H, W) to a logit for each pixel, (N, 1, H, W)."""

    def __init__(self, widths: tuple[int, ...] = (8, 16, 32)) -> None:
        super().__init__()
        self.down = nn.ModuleList(convolutions(*pair) for pair in pairwise((1, *widths)))
        self.pool = nn.MaxPool2d(2)
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(wide, narrow, 2, stride=2) for narrow, wide in pairwise(widths)
        )
        self.up = nn.ModuleList(convolutions(2 * width, width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for index, block in enumerate(self.down):
            x = block(self.pool(x) if index else x)
            levels.append(x)
        for enlarge, block, level in reversed(
            list(zip(self.enlarge, self.up, levels[:-1], strict=True))
        ):
            x = block(torch.cat([enlarge(x), level], dim=1))
        return self.head(x)


def convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        convolution = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def overlap(outputs: Tensor, targets: Tensor) -> Tensor:
    """Intersection over union of the pixels above 0, of each image, (N,)."""
    predicted, wanted = (outputs > 0).flatten(1), (targets > 0).flatten(1)
    return (predicted & wanted).sum(1) / (predicted | wanted).sum(1).clamp_min(1)


def unet() -> qmodels.Network:
    return describe("unet", UNet, channels=1, target=torch.clone, score=overlap)
