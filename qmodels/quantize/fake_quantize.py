"""Quantization-aware training: a float network that rounds as int8 arithmetic would.

Batch norms are folded into the convolutions before those are rounded. Gradients pass through the
rounding unchanged. Activation ranges are moving averages. Source: Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018.
"""

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from qmodels.network import resnet
from qmodels.network.fusion import chains, fuse
from qmodels.network.resnet import BasicBlock, PreactBlock, Resnet34

# Seven bits, so that what was trained runs on every machine class: full-range products saturate
# where there is no VNNI. Training makes up for the bit.
WEIGHT_RANGE = (-64, 63)
_ACTIVATION_RANGE = (0, 255)
_AVERAGING = 0.01  # weight of a new batch in the moving average of a range
_BATCH_NORM_EPS = nn.BatchNorm2d(1).eps


class _Extremes(nn.Module):
    """Moving averages of the lowest and the highest value."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.eps = nn.Buffer(torch.full((1,), torch.finfo(torch.float32).eps))
        self.min_val = nn.Buffer(torch.full(shape, torch.inf))
        self.max_val = nn.Buffer(torch.full(shape, -torch.inf))


class FakeQuantize(nn.Module):
    """Rounds to the levels of a range that follows what passes.

    Names of parts and buffers are those of the module that ``torch.ao.quantization`` had:
    checkpoints contain them.

    Args:
        channels: of a weight, each of which has a symmetric range; None for activations.
    """

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.fake_quant_enabled = nn.Buffer(torch.tensor([1]))
        self.observer_enabled = nn.Buffer(torch.tensor([1]))
        self.scale = nn.Buffer(torch.ones(channels or 1))
        self.zero_point = nn.Buffer(torch.zeros(channels or 1, dtype=torch.int32))
        self.activation_post_process = _Extremes(*(() if channels is None else (channels,)))

    def forward(self, values: Tensor) -> Tensor:
        """The values, float32, each the nearest level."""
        is_weight = self.channels is not None
        return torch.fused_moving_avg_obs_fake_quant(
            values,
            self.observer_enabled,
            self.fake_quant_enabled,
            self.activation_post_process.min_val,
            self.activation_post_process.max_val,
            self.scale,
            self.zero_point,
            _AVERAGING,
            *(WEIGHT_RANGE if is_weight else _ACTIVATION_RANGE),
            ch_axis=0 if is_weight else -1,
            per_row_fake_quant=is_weight,
            symmetric_quant=is_weight,
        )


class _Convolution(nn.Module):
    """A convolution, with the batch norm and the ReLU behind it, whose weights and output round."""

    bn: nn.BatchNorm2d | None

    def __init__(self, plain: nn.Conv2d, norm: Any = None, *relus: nn.Module) -> None:
        super().__init__()
        self.weight = plain.weight
        self.stride, self.padding = plain.stride, plain.padding
        self.bn = norm
        self.rectifies = bool(relus)
        self.weight_fake_quant = FakeQuantize(plain.out_channels)
        self.activation_post_process = FakeQuantize()

    def forward(self, x: Tensor) -> Tensor:
        if self.bn is None:
            weight = self.weight_fake_quant(self.weight)
            out = functional.conv2d(x, weight, None, self.stride, self.padding)
        else:
            # Weights round with batch norm's factor, by which batch norm multiplies once more.
            assert self.bn.running_var is not None
            factor = self.bn.weight / torch.sqrt(self.bn.running_var + self.bn.eps)
            weight = self.weight_fake_quant(self.weight * factor[:, None, None, None])
            out = functional.conv2d(x, weight, None, self.stride, self.padding)
            out = self.bn(out / factor[:, None, None])
        rounded: Tensor = self.activation_post_process(out.relu() if self.rectifies else out)
        return rounded

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias that compute both the convolution and the batch norm."""
        if self.bn is None:
            return self.weight, None
        norm: Any = self.bn
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        return fuse_conv_bn_weights(self.weight, None, *statistics)


class _Linear(nn.Module):
    """A linear layer whose weights and output round."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = plain.weight, plain.bias
        self.weight_fake_quant = FakeQuantize(plain.out_features)
        self.activation_post_process = FakeQuantize()

    def forward(self, x: Tensor) -> Tensor:
        out = functional.linear(x, self.weight_fake_quant(self.weight), self.bias)
        rounded: Tensor = self.activation_post_process(out)
        return rounded

    def folded(self) -> tuple[Tensor, Tensor | None]:
        return self.weight, self.bias


class _Rounded(nn.Sequential):
    """Modules whose last output rounds."""

    def __init__(self, *modules: nn.Module) -> None:
        numbered = {str(index): module for index, module in enumerate(modules)}
        super().__init__(OrderedDict({**numbered, "activation_post_process": FakeQuantize()}))


def prepare(model: nn.Module) -> nn.Module:
    """A copy of a ``Resnet34`` that fake-quantizes images, weights, activations and residual sums.

    Weights: int8, symmetric, a scale for each output channel. Activations: uint8. Everything that
    training changes, the ranges too, is in its state dictionary.
    """
    assert isinstance(model, Resnet34)
    prepared: Any = copy.deepcopy(model).train()
    followers = {first: others for first, *others in chains(prepared)}
    for name, module in list(prepared.named_modules()):
        behind = [prepared.get_submodule(follower) for follower in followers.get(name, [])]
        if isinstance(module, nn.Conv2d):
            prepared.set_submodule(name, _Convolution(module, *behind))
        elif isinstance(module, nn.Linear):
            prepared.set_submodule(name, _Linear(module))
        elif isinstance(module, nn.BatchNorm2d) and behind:
            prepared.set_submodule(name, _Rounded(module, *behind))
        elif isinstance(module, BasicBlock | PreactBlock):
            module.add = _Rounded()
            module.register_forward_hook(lambda block, _, output: block.add(output))
        for follower in followers.get(name, []):
            prepared.set_submodule(follower, nn.Identity())
    prepared.quant = _Rounded()
    prepared.register_forward_pre_hook(lambda network, images: network.quant(images[0]))
    return prepared  # type: ignore[no-any-return]


def observe(model: nn.Module, enabled: bool) -> None:
    """Let ranges follow what passes, or freeze them; does nothing to a float model."""
    for module in model.modules():
        if isinstance(module, FakeQuantize):
            module.observer_enabled[0] = enabled


StateDict = dict[str, Tensor]
_ROUNDING = ".weight_fake_quant"


def to_levels(state: StateDict) -> StateDict:
    """A fake-quantized model's state dictionary with weights as the levels they are rounded to.

    Levels are int8, of the weights' shapes. Nothing else changes, and rounding what ``from_levels``
    gives back yields the same levels.
    """
    return {name: _levels(state, name) for name in state}


def from_levels(state: StateDict) -> StateDict:
    """The inverse of ``to_levels``: float32 weights."""
    return {name: _level_values(state, name) for name in state}


def _levels(state: StateDict, name: str) -> Tensor:
    """A tensor as it is stored: levels int8 of a weight that is rounded, else the tensor."""
    if not _is_rounded(state, name) or state[name].dtype == torch.int8:
        return state[name]
    step, zero_point = _grid(state, name)
    rounded = (state[name].float() / step).round() + zero_point
    # Any level serves a channel that batch norm multiplies by zero.
    return rounded.nan_to_num(0.0).clamp(*WEIGHT_RANGE).to(torch.int8)


def _level_values(state: StateDict, name: str) -> Tensor:
    if not _is_rounded(state, name) or state[name].dtype != torch.int8:
        return state[name]
    step, zero_point = _grid(state, name)
    return (state[name] - zero_point) * step.nan_to_num(posinf=0.0, neginf=0.0)


def _is_rounded(state: StateDict, name: str) -> bool:
    module, _, last = name.rpartition(".")
    return last == "weight" and f"{module}{_ROUNDING}.scale" in state


def _grid(state: StateDict, name: str) -> tuple[Tensor, Tensor]:
    """The distance of two levels of a weight, and its zero point; both (channels, 1, ...).

    A weight is rounded after batch norm's factor was multiplied into it. A channel whose weights
    have one sign has a zero point that is not 0.
    """
    module = name.removesuffix(".weight")
    step = state[f"{module}{_ROUNDING}.scale"]
    if f"{module}.bn.weight" in state:
        deviation = (state[f"{module}.bn.running_var"] + _BATCH_NORM_EPS).sqrt()
        step = step / (state[f"{module}.bn.weight"] / deviation)
    shape = (-1, *[1] * (state[name].dim() - 1))
    return step.view(shape), state[f"{module}{_ROUNDING}.zero_point"].view(shape)


# Scales and zero points by the module that gives the tensor, and by module and ".weight" for
# weights. A residual sum has the name of its block, the images ``INPUT``.
Ranges = dict[str, tuple[Tensor, Tensor]]
INPUT = "quant"


def ranges(model: nn.Module) -> Ranges:
    """The quantization ranges of a fake-quantized model in eval mode."""
    by_name: Ranges = {}
    for path, module in model.named_modules():
        owner, _, part = path.rpartition(".")
        if isinstance(module, FakeQuantize):
            name = owner.removesuffix(".add")
            key = f"{name}.weight" if part == "weight_fake_quant" else name
            by_name[key] = module.scale, module.zero_point
    for first, *behind in chains(_plain(model)):
        by_name.update(dict.fromkeys(behind, by_name[first]))
    return by_name


def to_float(model: nn.Module) -> nn.Module:
    """The fused float network of a fake-quantized one, its weights rounded to the trained levels.

    Activations are not rounded any more.
    """
    network = fuse(_plain(model))
    for name, module in model.named_modules():
        if isinstance(module, _Convolution | _Linear):
            layer: Any = network.get_submodule(name)
            weight, layer.bias = module.folded()
            rounding = module.weight_fake_quant
            layer.weight.data = torch.fake_quantize_per_channel_affine(
                weight.data, rounding.scale, rounding.zero_point, 0, *WEIGHT_RANGE
            )
        elif isinstance(module, _Rounded) and isinstance(module[0], nn.BatchNorm2d):
            network.set_submodule(name, copy.deepcopy(module[0]))
    return network.eval()


def _plain(model: nn.Module) -> nn.Module:
    """A float network of the structure of a fake-quantized one, with other weights."""
    assert isinstance(model, Resnet34)
    return resnet.like(model).eval()


def range_name(node: fx.Node, ranges: Ranges) -> str:
    """The name of the range of what a node of a traced or exported network gives.

    That of the module that it comes from, or of the nearest module around it. What has none, as
    pooling, keeps the range of its input.
    """
    if node.op == "placeholder":
        return INPUT
    suffix = ".weight" if node.op == "get_attr" else ""
    if node.op == "get_attr":
        module = str(node.target).removesuffix(".weight")
    else:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        module = stack[-1][0] if stack else ""
    while module:
        if f"{module}{suffix}" in ranges:
            return f"{module}{suffix}"
        module = module.rpartition(".")[0]
    return range_name(node.all_input_nodes[0], ranges)
