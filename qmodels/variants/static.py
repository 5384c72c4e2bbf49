"""Post-training static quantization in eager mode, and the same frozen as TorchScript.

Weights are int8, symmetric, with a scale for each output channel; activations uint8, with ranges
from histograms of the calibration images (Jacob et al., 2018; Krishnamoorthi, "Quantizing deep
convolutional networks for efficient inference", 2018).
"""

import copy
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from qmodels.backends import eager, torchscript
from qmodels.backends.torch_engine import TorchBackend, default_engine, quantized_engine
from qmodels.quantize import histograms
from qmodels.variants.registry import variant

if TYPE_CHECKING:
    from torch.ao.quantization import QConfig

EAGER = eager.BACKEND.on(default_engine())
SCRIPT = torchscript.BACKEND.on(default_engine())
CONVOLUTIONS: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("quantized::conv2d_relu", "quantized::conv2d")
}
KERNELS: Mapping[type[nn.Module], tuple[str, ...]] = {
    **CONVOLUTIONS,
    nn.Linear: ("quantized::linear",),
}


def _structure(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        # Whatever its ranges, the weights that fill it bring theirs.
        warnings.filterwarnings("ignore", ".*must run observer before")
        return convert(prepare(model, EAGER))


@variant(
    backend=EAGER,
    summary="int8 weights and activations, eager",
    arithmetic="int8",
    int8_share=1.0,
    structure=_structure,
    kernels=KERNELS,
)
def static_int8(model: nn.Module, calibration: Tensor) -> nn.Module:
    """Fuse, calibrate and convert, for the engine of this machine."""
    return quantize(model, calibration, EAGER)


@variant(
    backend=SCRIPT,
    summary="static-int8 traced and frozen as TorchScript",
    arithmetic="int8",
    int8_share=1.0,
    kernels=KERNELS,
)
def static_int8_jit(model: nn.Module, calibration: Tensor) -> "torch.jit.ScriptModule":
    """Trace and freeze what ``static_int8`` makes."""
    return freeze(quantize(model, calibration, SCRIPT), calibration, SCRIPT)


def quantize(model: nn.Module, calibration: Tensor, backend: TorchBackend) -> nn.Module:
    """A statically quantized copy of a float model in eval mode.

    Args:
        calibration: images (N, C, H, W) float32, normalized.
        backend: whose kernels will run it, and so how many bits its weights get.
    """
    prepared = prepare(model, backend)
    histograms.observe(prepared, histograms.observers_of(prepared), calibration)
    with quantized_engine(backend.engine):
        return convert(prepared)


def prepare(model: nn.Module, backend: TorchBackend) -> fx.GraphModule:
    """A fused copy of a float model with stubs and observers.

    Raises:
        Unavailable: torch.fx can't trace the model to put stubs in.
    """
    from torch.ao import quantization

    from qmodels.quantize.stubs import with_stubs

    with quantized_engine(backend.engine):
        prepared = with_stubs(model)
        prepared.qconfig = qconfig(backend)  # type: ignore[assignment]
        quantization.prepare(prepared, inplace=True)
    return prepared


def convert(prepared: nn.Module) -> nn.Module:
    """The int8 model of a prepared one, in place."""
    from torch.ao import quantization

    converted: nn.Module = quantization.convert(prepared, inplace=True)
    return converted


def qconfig(backend: TorchBackend) -> "QConfig":
    """Histograms for activations, a symmetric range for each channel of weights."""
    from torch.ao.quantization import HistogramObserver, PerChannelMinMaxObserver, QConfig

    lowest, highest = backend.weight_range()
    return QConfig(
        activation=HistogramObserver.with_args(reduce_range=False),
        weight=PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            quant_min=lowest,
            quant_max=highest,
        ),
    )


def freeze(quantized: nn.Module, images: Tensor, backend: TorchBackend) -> "torch.jit.ScriptModule":
    """A quantized model as one TorchScript graph, its weights constants, for any batch size.

    Args:
        images: (N, C, H, W) float32, for their shape.
    """
    from torch.jit._trace import TracerWarning

    with quantized_engine(backend.engine), torch.no_grad(), warnings.catch_warnings():
        # Scales become constants of the graph, as they should.
        warnings.filterwarnings("ignore", category=TracerWarning)
        script: torch.jit.ScriptModule = torch.jit.freeze(
            torch.jit.trace(copy.deepcopy(quantized), torch.zeros_like(images[:1]))
        )
    return script
