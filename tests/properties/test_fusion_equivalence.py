"""Fused and unfused networks agree within bounds derived from the arithmetic.

Each test claims that a float32 result is within `error` of the exact one. The exact result is
computed in float64, layer by layer, beside a bound on what float32 can do to it. The bound follows
the standard model of floating-point arithmetic: n operations, in any order, change a sum of
products by at most gamma(n) times the sum of the products' magnitudes. Source: Higham, "Accuracy
and Stability of Numerical Algorithms", chapters 2 and 3. Fused and unfused networks do the same
operations in another order, so one bound serves both.
"""

from dataclasses import dataclass

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from qmodels.network import resnet
from qmodels.network.fusion import fuse

UNIT_ROUNDOFF = 2.0**-24
# Besides the products. Eps is added to a variance, of which the root divides. Scale and mean are
# multiplied, and the shift is added twice. Each stored weight and bias is rounded.
OTHER_OPERATIONS = 12
# Where float32 underflows, its error is absolute: at most the smallest normal number an operation.
UNDERFLOW = 2.0**-126


def gamma(operations: int) -> float:
    return operations * UNIT_ROUNDOFF / (1 - operations * UNIT_ROUNDOFF)


@dataclass(frozen=True)
class Bounded:
    """An exact result in float64, and how far a float32 one may be from it."""

    exact: Tensor
    error: Tensor

    @staticmethod
    def exactly(x: Tensor) -> "Bounded":
        return Bounded(x.double(), torch.zeros_like(x, dtype=torch.float64))

    def relu(self) -> "Bounded":
        return Bounded(self.exact.relu(), self.error)  # no further apart than before

    def __add__(self, other: "Bounded") -> "Bounded":
        exact = self.exact + other.exact
        error = self.error + other.error
        rounding = gamma(1) * (self.exact.abs() + other.exact.abs() + error)
        return Bounded(exact, error + rounding)

    def convolve(self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None) -> "Bounded":
        weight = conv.weight.double()

        def apply(x: Tensor, w: Tensor) -> Tensor:
            return functional.conv2d(x, w, None, conv.stride, conv.padding)

        products = apply(self.exact, weight)
        magnitude = apply(self.exact.abs() + self.error, weight.abs())
        carried = apply(self.error, weight.abs())
        if conv.bias is not None:
            products = products + conv.bias.double()[:, None, None]
            magnitude = magnitude + conv.bias.double().abs()[:, None, None]
        operations = weight[0].numel() + OTHER_OPERATIONS
        if bn is None:
            return Bounded(products, carried + gamma(operations) * magnitude)
        return normalize(bn, products, magnitude, carried, operations)

    def normalize(self, bn: nn.BatchNorm2d) -> "Bounded":
        magnitude = self.exact.abs() + self.error
        return normalize(bn, self.exact, magnitude, self.error, OTHER_OPERATIONS)

    def contains(self, result: Tensor) -> bool:
        return bool(((result.double() - self.exact).abs() <= self.error).all())


def normalize(
    bn: nn.BatchNorm2d, x: Tensor, magnitude: Tensor, carried: Tensor, operations: int
) -> Bounded:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = (bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt())[:, None, None]
    mean, bias = (t.double()[:, None, None] for t in (bn.running_mean, bn.bias))
    sizes = scale.abs() * (magnitude + mean.abs()) + bias.abs()
    underflow = operations * UNDERFLOW * (1 + scale.abs())
    error = scale.abs() * carried + gamma(operations) * sizes + underflow
    return Bounded((x - mean) * scale + bias, error)


# Tiny and huge variances, scales negative and zero, means far from zero.
variances = st.sampled_from([0.0, 1e-12, 1e-6, 1e-2, 1.0, 1e3, 1e8])
scales = st.sampled_from([0.0, -1.0, 1.0, -1e-3, 0.5, 30.0])
shifts = st.sampled_from([0.0, -1.0, 2.0, 100.0])


@st.composite
def batch_norms(draw: st.DrawFn, channels: int) -> nn.BatchNorm2d:
    bn = nn.BatchNorm2d(channels)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    for tensor, values in (
        (bn.running_var, variances),
        (bn.weight, scales),
        (bn.bias, shifts),
        (bn.running_mean, shifts),
    ):
        drawn = draw(st.lists(values, min_size=channels, max_size=channels))
        tensor.data.copy_(torch.tensor(drawn))
    return bn.eval()


def random_tensor(draw: st.DrawFn, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    magnitude = draw(st.sampled_from([1e-3, 1.0, 100.0]))
    return torch.randn(*shape, generator=generator) * magnitude


class Chain(nn.Module):
    """Convolution, batch norm and perhaps ReLU, as a block has them."""

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d, relu: bool) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = conv, bn, nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.relu(self.bn(self.conv(x)))
        return activated


@st.composite
def chains(draw: st.DrawFn) -> tuple[Chain, Tensor]:
    channels, out_channels = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    kernel = draw(st.sampled_from([1, 3]))
    stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    conv = nn.Conv2d(
        channels, out_channels, kernel, stride, padding, bias=draw(st.booleans())
    ).requires_grad_(False)
    conv.weight.copy_(random_tensor(draw, *conv.weight.shape))
    bn = draw(batch_norms(out_channels)).requires_grad_(False)
    size = draw(st.integers(3, 9))
    x = random_tensor(draw, draw(st.sampled_from([1, 2, 17])), channels, size, size)
    return Chain(conv, bn, relu=draw(st.booleans())).eval(), x


@given(chains())
@settings(max_examples=200, deadline=None)
def test_a_convolution_with_its_batch_norm(drawn: tuple[Chain, Tensor]) -> None:
    chain, x = drawn
    expected = Bounded.exactly(x).convolve(chain.conv, chain.bn)
    if isinstance(chain.relu, nn.ReLU):
        expected = expected.relu()
    fused = fuse(chain)
    assert isinstance(fused.get_submodule("bn"), nn.Identity)
    assert expected.contains(chain(x))
    assert expected.contains(fused(x))


@st.composite
def blocks(draw: st.DrawFn, kind: type[nn.Module]) -> tuple[nn.Module, Tensor]:
    channels = draw(st.integers(1, 4))
    projects = draw(st.booleans())
    out_channels = draw(st.integers(1, 4)) if projects else channels
    stride = draw(st.sampled_from([1, 2])) if projects else 1
    block = kind(channels, out_channels, stride).requires_grad_(False)
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(random_tensor(draw, *module.weight.shape))
    for name, module in list(block.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            block.set_submodule(name, draw(batch_norms(module.num_features)))
    x = random_tensor(draw, draw(st.sampled_from([1, 2, 17])), channels, 6, 6)
    return block.requires_grad_(False).eval(), x


@given(blocks(resnet.BasicBlock))
@settings(max_examples=100, deadline=None)
def test_a_post_activation_block(drawn: tuple[resnet.BasicBlock, Tensor]) -> None:
    block, x = drawn
    start = Bounded.exactly(x)
    out = start.convolve(block.conv1, block.bn1).relu().convolve(block.conv2, block.bn2)
    shortcut = start
    if isinstance(block.shortcut, nn.Sequential):
        shortcut = start.convolve(*block.shortcut)
    expected = (out + shortcut).relu()
    fused = fuse(block)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert expected.contains(block(x))
    assert expected.contains(fused(x))


@given(blocks(resnet.PreactBlock))
@settings(max_examples=100, deadline=None)
def test_a_pre_activation_block(drawn: tuple[resnet.PreactBlock, Tensor]) -> None:
    block, x = drawn
    start = Bounded.exactly(x)
    activated = start.normalize(block.bn1).relu()
    out = activated.convolve(block.conv1, block.bn2).relu().convolve(block.conv2, None)
    shortcut = start
    if isinstance(block.shortcut, nn.Conv2d):
        shortcut = activated.convolve(block.shortcut, None)
    expected = out + shortcut
    assert expected.contains(block(x))
    assert expected.contains(fuse(block)(x))


def test_the_bound_is_tight_enough_to_see_a_wrong_fusion() -> None:
    """Weights off by one part in ten thousand, or another eps, fall outside it."""
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(4, 4, 3, bias=False).requires_grad_(False)
    conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator))
    chain = Chain(conv, nn.BatchNorm2d(4).requires_grad_(False), relu=False).eval()
    x = torch.randn(2, 4, 8, 8, generator=generator)
    expected = Bounded.exactly(x).convolve(chain.conv, chain.bn)
    fused = fuse(chain)
    assert expected.contains(fused(x))
    fused.conv.weight *= 1 + 1e-4
    assert not expected.contains(fused(x))
    chain.bn.eps = 1e-3
    assert not expected.contains(fuse(chain)(x))
