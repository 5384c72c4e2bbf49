"""ResNet-34 for 32x32 images, post- and pre-activation.

Sources: He et al., "Deep Residual Learning for Image Recognition" (2015) and "Identity Mappings in
Deep Residual Networks" (2016). The stem is the usual one for small images: 3x3, stride 1, no
max-pooling.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qmodels.system.defaults import ARCHITECTURES
from qmodels.system.errors import UserError

BLOCKS_PER_STAGE: Sequence[int] = (3, 4, 6, 3)
_IMAGE_SIZE = 32


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1; the batch norm after it has the bias."""
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )


class BasicBlock(nn.Module):
    """Post-activation residual block: ``relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        projects = stride != 1 or in_channels != out_channels
        self.shortcut: nn.Module = nn.Identity()
        if projects:
            self.shortcut = nn.Sequential(
                OrderedDict(
                    conv=conv(in_channels, out_channels, 1, stride), bn=nn.BatchNorm2d(out_channels)
                )
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out)) + self.shortcut(x)
        activated: Tensor = self.relu2(out)
        return activated


class PreactBlock(nn.Module):
    """Pre-activation residual block: ``conv(relu(bn(conv(relu(bn(x)))))) + shortcut``.

    A projection reads the pre-activated input, the identity the raw one, as in the paper's code.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()  # not in place: the identity shortcut still needs the input
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.projects = stride != 1 or in_channels != out_channels
        self.shortcut = (
            conv(in_channels, out_channels, 1, stride) if self.projects else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride)."""
        activated = self.relu1(self.bn1(x))
        shortcut = self.shortcut(activated if self.projects else x)
        out: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(activated)))) + shortcut
        return out


class Resnet34(nn.Module):
    """ResNet-34: (N, 3, 32, 32) float32 images to (N, classes) logits.

    Post-activation nets have batch norm and ReLU in the stem, pre-activation ones in the head.

    Args:
        blocks: of each stage; those of ResNet-34 by default.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        preactivation: bool = False,
        blocks: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        stem = OrderedDict[str, nn.Module](conv=conv(3, width, 3))
        block = PreactBlock if preactivation else BasicBlock
        self.blocks = tuple(blocks or BLOCKS_PER_STAGE)
        stages, features = _stack(block, self.blocks, width)
        head = OrderedDict[str, nn.Module]()
        activated = head if preactivation else stem
        activated["bn"] = nn.BatchNorm2d(features if preactivation else width)
        activated["relu"] = nn.ReLU(inplace=True)
        head["pool"] = nn.AdaptiveAvgPool2d(1)
        head["flatten"] = nn.Flatten()
        head["fc"] = nn.Linear(features, classes)
        self.stem = nn.Sequential(stem)
        self.stages = stages
        self.head = nn.Sequential(head)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # He et al. (2015), equation 14: keeps the variance of the gradients.
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits, (N, classes) float32, of normalized images (N, 3, H, W)."""
        logits: Tensor = self.head(self.stages(self.stem(x)))
        return logits


def build(architecture: str, width: int, classes: int) -> Resnet34:
    """A freshly initialized network; draws from torch's global random generator.

    Args:
        architecture: one of ``ARCHITECTURES``.
        width: channels of the stem; the four stages have 1, 2, 4 and 8 times as many.
        classes: number of logits.

    Raises:
        UserError: unknown architecture, or a width or number of classes that makes no network.
    """
    check(architecture, width, classes)
    return Resnet34(width, classes, preactivation=architecture == "preact_resnet34")


def like(model: Resnet34) -> Resnet34:
    """A network of the same structure with weights of its own, drawn apart from all other draws."""
    preactivation = any(isinstance(module, PreactBlock) for module in model.modules())
    width, classes = (
        model.get_parameter(f"{name}.weight").shape[0] for name in ("stem.conv", "head.fc")
    )
    with torch.random.fork_rng(devices=[]):
        return Resnet34(width, classes, preactivation=preactivation, blocks=model.blocks)


def check(architecture: str, width: int, classes: int = 1) -> None:
    """Refuse what ``build`` can't."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"unknown architecture {architecture!r}: choose one of {known}")
    if not 1 <= width <= 1024:
        raise UserError(f"width {width}: choose from 1 to 1024, such as 8, 16 or 64")
    if classes < 1:
        raise UserError(f"{classes} classes: choose 1 or more")


def _stack(block: type[nn.Module], blocks: Sequence[int], width: int) -> tuple[nn.Sequential, int]:
    stages = []
    channels = width
    for index, count in enumerate(blocks):
        out_channels = width * 2**index
        strides = [1 if index == 0 else 2] + [1] * (count - 1)
        stage = []
        for stride in strides:
            stage.append(block(channels, out_channels, stride))
            channels = out_channels
        stages.append(nn.Sequential(*stage))
    return nn.Sequential(*stages), channels


def random_images(count: int, *, seed: int = 0) -> Tensor:
    """Standard normal images, (count, 3, 32, 32) float32, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, _IMAGE_SIZE, _IMAGE_SIZE, generator=generator)
