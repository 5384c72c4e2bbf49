"""Post-training static quantization in eager mode, and the same frozen as TorchScript.

Weights are int8, symmetric, with a scale for each output channel; activations uint8, with ranges
from histograms of the calibration images (Jacob et al., 2018; Krishnamoorthi, "Quantizing deep
convolutional networks for efficient inference", 2018).
"""

import copy

import torch
from torch import Tensor, nn

from qmodels import engines, machine, torch_ao
from qmodels.fusion import fuse
from qmodels.resnet import IMAGE_SIZE, Resnet34
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import SCRIPT, WEIGHTS
from qmodels.variants.registry import variant

ENGINE = machine.quantized_engine()
KERNELS = ("quantized::conv2d_relu", "quantized::conv2d", "quantized::linear")


@variant(
    "static-int8",
    engine=ENGINE,
    summary="int8 weights and activations, eager",
    format=WEIGHTS,
    arithmetic="int8",
    int8_share=1.0,
    calibrates=True,
    kernels=KERNELS,
)
def static_int8(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Fuse, calibrate and convert, for the engine of this machine."""
    return quantize(model, calibration, ENGINE)


@variant(
    "static-int8-jit",
    engine=ENGINE,
    summary="static-int8 traced and frozen as TorchScript",
    format=SCRIPT,
    arithmetic="int8",
    int8_share=1.0,
    calibrates=True,
    kernels=KERNELS,
)
def static_int8_jit(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Trace and freeze what ``static_int8`` makes."""
    return freeze(quantize(model, calibration, ENGINE), ENGINE)


def quantize(model: Resnet34, calibration: Tensor | None, engine: str) -> nn.Module:
    """A statically quantized copy of a float model.

    Args:
        model: in eval mode.
        calibration: images (N, 3, 32, 32) float32, normalized; with None the ranges stay unset.
        engine: whose kernels will run it, and so how many bits its weights get.
    """
    with torch_ao.quantized_engine(engine):
        prepared = fuse(model)
        prepared.qconfig = qconfig(engine)  # type: ignore[assignment]
        torch_ao.prepare(prepared, inplace=True)
        if calibration is not None:
            with torch.inference_mode():
                # In one batch: merging two histograms costs far more than making one.
                prepared(calibration)
        converted: nn.Module = torch_ao.convert(prepared, inplace=True)
    return converted


def qconfig(engine: str) -> torch_ao.QConfig:
    """Histograms for activations, a symmetric range for each channel of weights."""
    lowest, highest = engines.weight_range(engine)
    return torch_ao.QConfig(
        activation=torch_ao.HistogramObserver.with_args(reduce_range=False),
        weight=torch_ao.PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            quant_min=lowest,
            quant_max=highest,
        ),
    )


def freeze(quantized: nn.Module, engine: str) -> torch.jit.ScriptModule:
    """A quantized model as one TorchScript graph, its weights constants, for any batch size."""
    with torch_ao.quantized_engine(engine), torch.no_grad():
        example = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
        script: torch.jit.ScriptModule = torch.jit.freeze(
            torch.jit.trace(copy.deepcopy(quantized), example)
        )
    return script
