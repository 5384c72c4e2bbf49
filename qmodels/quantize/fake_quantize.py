"""Quantization-aware training: a float network that rounds as int8 arithmetic would.

Batch norms are folded into the convolutions before those are rounded. Gradients pass through the
rounding unchanged. Activation ranges are moving averages. Source: Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018.
"""

from typing import Any

import torch
from torch import Tensor, nn

from qmodels.network import eager_quantization, resnet
from qmodels.network.fusion import fuse, fuse_for_training
from qmodels.network.resnet import Resnet34

# Seven bits, so that what was trained runs on every machine class: full-range products saturate
# where there is no VNNI. Training makes up for the bit.
WEIGHT_RANGE = (-64, 63)
_BATCH_NORM_EPS = nn.BatchNorm2d(1).eps


class _FakeQuantize(eager_quantization.FusedMovingAvgObsFakeQuantize):
    """torch's module, converted with the very scales that it trained with.

    Its kernel divides a symmetric range by 64 steps below zero or 63 above, its observer by 63.5
    either way: torch converts with the observer's scales, 0.8 % from those of the training.
    """

    def calculate_qparams(self, **options: Any) -> tuple[Tensor, Tensor]:
        """Scales (channels,) float32 and zero points (channels,) int32, as last used."""
        return self.scale, self.zero_point


def prepare(model: nn.Module) -> nn.Module:
    """A copy of a float model that fake-quantizes weights, activations and residual sums.

    Weights: int8, symmetric, a scale for each output channel. Activations: uint8. Everything that
    training changes, the ranges too, is in its state dictionary.
    """
    with eager_quantization.suppress_deprecations():
        prepared = fuse_for_training(model)
        lowest, highest = WEIGHT_RANGE
        prepared.qconfig = eager_quantization.QConfig(  # type: ignore[assignment]
            activation=_FakeQuantize.with_args(  # type: ignore[no-untyped-call]
                observer=eager_quantization.MovingAverageMinMaxObserver, quant_min=0, quant_max=255
            ),
            weight=_FakeQuantize.with_args(  # type: ignore[no-untyped-call]
                observer=eager_quantization.MovingAveragePerChannelMinMaxObserver,
                quant_min=lowest,
                quant_max=highest,
                dtype=torch.qint8,
                qscheme=torch.per_channel_symmetric,
            ),
        )
        eager_quantization.prepare_qat(prepared, inplace=True)
    return prepared


def observe(model: nn.Module, enabled: bool) -> None:
    """Let ranges follow what passes, or freeze them; does nothing to a float model."""
    for module in model.modules():
        if isinstance(module, eager_quantization.FakeQuantizeBase):
            module.enable_observer(enabled)


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
        is_sum = isinstance(module, eager_quantization.FloatFunctional)
        name = path.rpartition(".")[0] if is_sum else path
        for key, part in (
            (name, getattr(module, "activation_post_process", None)),
            (f"{name}.weight", getattr(module, "weight_fake_quant", None)),
        ):
            if isinstance(part, _FakeQuantize):
                by_name[key] = part.calculate_qparams()
    return by_name


def to_float(model: nn.Module) -> nn.Module:
    """The fused float network of a fake-quantized one, its weights rounded to the trained levels.

    Activations are not rounded any more.
    """
    assert isinstance(model, Resnet34)
    network = fuse(resnet.like(model).eval())
    for name, module in model.named_modules():
        if not hasattr(module, "to_float"):
            continue
        plain = module.to_float()
        layer = plain if hasattr(plain, "weight") else plain[0]
        scale, zero_point = module.weight_fake_quant.calculate_qparams()
        layer.weight.data = torch.fake_quantize_per_channel_affine(
            layer.weight.data, scale, zero_point.int(), 0, *WEIGHT_RANGE
        )
        network.set_submodule(name, plain)
    return network.eval()


def convert(model: nn.Module, engine: str) -> nn.Module:
    """The int8 model that a fake-quantized one in eval mode stands for, in an engine's kernels."""
    with eager_quantization.quantized_engine(engine):
        converted: nn.Module = eager_quantization.convert(model)
    return converted
