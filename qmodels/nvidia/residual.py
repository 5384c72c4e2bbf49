"""A fused network of post-activation residual blocks as a value, for what computes it by blocks."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from qmodels.network.resnet import BasicBlock, PreactBlock, Resnet34
from qmodels.system.errors import Unavailable


@dataclass(frozen=True)
class Block:
    """``relu(conv2(relu(conv1(x))) + shortcut(x))``.

    Attributes:
        module: the whole block.
        first: the ReLU behind ``conv1``.
        shortcut: None where it is the identity.
    """

    name: str
    module: nn.Module
    first: nn.Module
    conv1: nn.Conv2d
    conv2: nn.Conv2d
    shortcut: nn.Conv2d | None


@dataclass(frozen=True)
class ResidualNetwork:
    """A stem, blocks, the mean over the image, and a linear layer.

    Attributes:
        module: the whole network.
        stem: a convolution with its ReLU, which takes the images.
        conv: the convolution of the stem.
    """

    module: nn.Module
    stem: nn.Module
    conv: nn.Conv2d
    blocks: tuple[Block, ...]
    linear: nn.Linear


def residual_network(fused: nn.Module) -> ResidualNetwork:
    """The blocks of a fused network.

    Raises:
        Unavailable: it has others. Pre-activation sums are normalized after they are added.
    """
    if any(isinstance(module, PreactBlock) for module in fused.modules()):
        raise Unavailable("pre-activation blocks have no int8 kernels here: choose resnet34")
    if not isinstance(fused, Resnet34):
        raise Unavailable(
            "int8 kernels for GPUs are written for the residual blocks of resnet34, which "
            f"{type(fused).__name__} does not have: leave this variant out"
        )
    blocks = [
        _block(name, module)
        for name, module in fused.named_modules()
        if isinstance(module, BasicBlock)
    ]
    stem: Any = fused.stem
    head: Any = fused.head
    return ResidualNetwork(fused, stem, stem.conv, tuple(blocks), head.fc)


def _block(name: str, module: Any) -> Block:
    shortcut = None if isinstance(module.shortcut, nn.Identity) else module.shortcut.conv
    return Block(name, module, module.relu1, module.conv1, module.conv2, shortcut)
