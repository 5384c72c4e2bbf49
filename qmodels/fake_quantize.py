"""Quantization-aware training: a float network that rounds as int8 arithmetic would.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (2018): batch norms are folded into the convolutions before those are rounded, gradients
pass through the rounding unchanged, activation ranges are moving averages.
"""

from typing import Any

import torch
from torch import Tensor, nn

from qmodels import resnet, torch_ao
from qmodels.fusion import fuse, fuse_for_training
from qmodels.resnet import Resnet34

# Seven bits, so that what was trained runs on every machine class: full-range products saturate
# where there is no VNNI. Training makes up for the bit.
WEIGHT_RANGE = (-64, 63)


class FakeQuantize(torch_ao.FusedMovingAvgObsFakeQuantize):
    """torch's module, converted with the very scales that it trained with.

    Its kernel divides a symmetric range by 64 steps below zero or 63 above, its observer by 63.5
    either way: torch converts with the observer's scales, 0.8 % from those of the training.
    """

    def calculate_qparams(self, **options: Any) -> tuple[Tensor, Tensor]:
        """Scales (channels,) float32 and zero points (channels,) int32, as last used."""
        return self.scale, self.zero_point


def prepare(model: Resnet34) -> Resnet34:
    """A copy of a float model that fake-quantizes weights, activations and residual sums.

    Weights: int8, symmetric, a scale for each output channel. Activations: uint8. Everything that
    training changes, the ranges too, is in its state dictionary.
    """
    with torch_ao.quietly():
        prepared = fuse_for_training(model)
        lowest, highest = WEIGHT_RANGE
        prepared.qconfig = torch_ao.QConfig(  # type: ignore[assignment]
            activation=FakeQuantize.with_args(  # type: ignore[no-untyped-call]
                observer=torch_ao.MovingAverageMinMaxObserver, quant_min=0, quant_max=255
            ),
            weight=FakeQuantize.with_args(  # type: ignore[no-untyped-call]
                observer=torch_ao.MovingAveragePerChannelMinMaxObserver,
                quant_min=lowest,
                quant_max=highest,
                dtype=torch.qint8,
                qscheme=torch.per_channel_symmetric,
            ),
        )
        torch_ao.prepare_qat(prepared, inplace=True)
    return prepared


def observe(model: nn.Module, enabled: bool) -> None:
    """Let ranges follow what passes, or freeze them; does nothing to a float model."""
    for module in model.modules():
        if isinstance(module, torch_ao.FakeQuantizeBase):
            module.enable_observer(enabled)


# Scales and zero points by module, and by module and ".weight" for weights.
Ranges = dict[str, tuple[Tensor, Tensor]]


def ranges(model: nn.Module) -> Ranges:
    """What a fake-quantized model in eval mode rounds by."""
    found: Ranges = {}
    for name, module in model.named_modules():
        for key, part in (
            (name, getattr(module, "activation_post_process", None)),
            (f"{name}.weight", getattr(module, "weight_fake_quant", None)),
        ):
            if isinstance(part, FakeQuantize):
                found[key] = part.calculate_qparams()
    return found


def to_float(model: Resnet34) -> Resnet34:
    """The fused float network of a fake-quantized one, its weights rounded to the trained levels.

    Activations are not rounded any more.
    """
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
    with torch_ao.quantized_engine(engine):
        converted: nn.Module = torch_ao.convert(model)
    return converted
