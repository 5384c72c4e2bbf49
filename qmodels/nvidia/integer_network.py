"""ResNet-34 in int8 between its images and its pooled features, by any arithmetic of integers."""

import torch
from torch import Tensor, nn

from qmodels.nvidia import calibration, integer
from qmodels.nvidia.calibration import IMAGE, STEM, Scale
from qmodels.nvidia.integer import Convolution, IntegerArithmetic
from qmodels.nvidia.residual import Block, ResidualNetwork

_UNSET = Scale(1.0, 0)


class IntegerBlock(nn.Module):
    """A residual block of two convolutions, or three where it projects."""

    def __init__(
        self, conv1: Convolution, conv2: Convolution, shortcut: Convolution | None
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.conv2 = conv2
        self.shortcut = shortcut


class IntegerNetwork(nn.Module):
    """Post-activation ResNet-34: (N, 3, 32, 32) float32 images to (N, classes) float32 logits.

    The linear layer, a twenty-thousandth of the multiplications at width 64, is in float32: its
    input, a mean of 16 integers, would lose its own precision in eight bits. The scale and the
    zero point of that input are folded into it.

    Attributes:
        steps: (2,) float32, of ``integer.quantize``.
        arithmetic: what computes it; exactly, on any device, unless it is replaced.
    """

    steps: Tensor

    def __init__(self, stem: Convolution, blocks: list[IntegerBlock], head: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(2))
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.arithmetic: IntegerArithmetic = integer.EXACT

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) float32 of normalized images (N, 3, 32, 32) float32."""
        convolve = self.arithmetic.convolve
        x = convolve(self.arithmetic.quantize(images, self.steps), self.stem, None)
        for block in self.blocks:
            assert isinstance(block, IntegerBlock)
            shortcut = x if block.shortcut is None else convolve(x, block.shortcut, None)
            x = convolve(convolve(x, block.conv1, None), block.conv2, shortcut)
        logits: Tensor = self.head(x.mean(dim=(1, 2), dtype=torch.float32))
        return logits


def quantize(network: ResidualNetwork, images: Tensor) -> IntegerNetwork:
    """A fused float network in int8.

    Args:
        network: in eval mode.
        images: (N, C, H, W) float32, normalized.
    """
    return _with_scales(network, calibration.scales(network, images, symmetric=False))


def structure(network: ResidualNetwork) -> IntegerNetwork:
    """The network of integers that a fused float network gives, its scales unset."""
    return _with_scales(network, dict.fromkeys(calibration.observed_modules(network), _UNSET))


def _with_scales(network: ResidualNetwork, scales: dict[str, Scale]) -> IntegerNetwork:
    stem = _layer(network.conv, scales[IMAGE], scales[STEM], relu=True)
    blocks = []
    x = scales[STEM]
    for block in network.blocks:
        blocks.append(_quantized_block(block, x, scales))
        x = scales[block.name]
    quantized = IntegerNetwork(stem, blocks, head(network.linear, x))
    image = scales[IMAGE]
    quantized.steps.copy_(torch.tensor([1 / image.scale, image.zero_point + 0.5]))
    return quantized.eval()


def _quantized_block(block: Block, x: Scale, scales: dict[str, Scale]) -> IntegerBlock:
    """A fused block whose input has the scale of ``x``; the others are by name."""
    shortcut, residual = None, x
    if block.shortcut is not None:
        residual = scales[f"{block.name}.shortcut"]
        shortcut = _layer(block.shortcut, x, residual, relu=False)
    between = scales[f"{block.name}.conv1"]
    return IntegerBlock(
        _layer(block.conv1, x, between, relu=True),
        _layer(block.conv2, between, scales[block.name], relu=True, residual=residual),
        shortcut,
    )


def _layer(
    conv: nn.Conv2d, images: Scale, results: Scale, *, relu: bool, residual: Scale | None = None
) -> Convolution:
    assert conv.bias is not None
    return integer.convolution(
        conv.weight, conv.bias, conv.stride[0], images, results, relu=relu, residual=residual
    )


def head(linear: nn.Linear, x: Scale) -> nn.Linear:
    """A linear layer of float32 for inputs that are means of int8 of a scale."""
    scaled = nn.Linear(linear.in_features, linear.out_features)
    with torch.no_grad():
        weight = linear.weight.double()
        scaled.weight.copy_(weight * x.scale)
        scaled.bias.copy_(linear.bias.double() - weight.sum(1) * x.scale * x.zero_point)
    return scaled.requires_grad_(False)
