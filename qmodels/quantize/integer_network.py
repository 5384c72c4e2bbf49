"""ResNet-34 in int8 between its images and its pooled features, by any arithmetic of integers."""

import torch
from torch import Tensor, nn

from qmodels.network.resnet import BasicBlock, Resnet34
from qmodels.quantize import calibration, integer
from qmodels.quantize.calibration import IMAGE, STEM, Scale
from qmodels.quantize.integer import Arithmetic, Convolution

UNSET = Scale(1.0, 0)


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
        self.arithmetic: Arithmetic = integer.EXACT

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


def quantize(fused: Resnet34, images: Tensor) -> IntegerNetwork:
    """A fused float network in int8.

    Args:
        fused: post-activation, in eval mode.
        images: (N, C, H, W) float32, normalized.

    Raises:
        Unavailable: it is a pre-activation network.
    """
    return with_scales(fused, calibration.scales(fused, images, symmetric=False))


def structure(fused: Resnet34) -> IntegerNetwork:
    """The network of integers that a fused float network gives, its scales unset.

    Raises:
        Unavailable: it is a pre-activation network.
    """
    return with_scales(fused, dict.fromkeys(calibration.observed_modules(fused), UNSET))


def with_scales(fused: Resnet34, scales: dict[str, Scale]) -> IntegerNetwork:
    """A fused float network in int8, by the scales of all that is observed in it."""
    # Of a fused convolution with a ReLU, the convolution is the first part.
    stem = layer(fused.stem.conv[0], scales[IMAGE], scales[STEM], relu=True)  # type: ignore[index,arg-type]
    blocks = []
    x = scales[STEM]
    for name, block in calibration.named_blocks(fused).items():
        blocks.append(quantized_block(name, block, x, scales))
        x = scales[name]
    network = IntegerNetwork(stem, blocks, head(fused.head.fc, x))  # type: ignore[arg-type]
    image = scales[IMAGE]
    network.steps.copy_(torch.tensor([1 / image.scale, image.zero_point + 0.5]))
    return network.eval()


def quantized_block(
    name: str, block: BasicBlock, x: Scale, scales: dict[str, Scale]
) -> IntegerBlock:
    """A fused block whose input has the scale of ``x``; the others are by name."""
    shortcut, residual = None, x
    if not isinstance(block.shortcut, nn.Identity):
        residual = scales[f"{name}.shortcut"]
        shortcut = layer(block.shortcut.conv, x, residual, relu=False)  # type: ignore[arg-type]
    between = scales[f"{name}.conv1"]
    return IntegerBlock(
        layer(block.conv1[0], x, between, relu=True),  # type: ignore[index]
        layer(block.conv2, between, scales[name], relu=True, residual=residual),
        shortcut,
    )


def layer(
    conv: nn.Conv2d, images: Scale, results: Scale, *, relu: bool, residual: Scale | None = None
) -> Convolution:
    """A fused convolution in int8."""
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
