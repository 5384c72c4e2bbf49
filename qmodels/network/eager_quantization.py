"""The seam to ``torch.ao.quantization``: deprecated there but working, so imported only here.

torchao carries on with graph-mode quantization, but the eager mode that this module needs has no
successor. When torch removes it, this is the one module that breaks.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import (
    DeQuantStub,
    FakeQuantizeBase,
    FusedMovingAvgObsFakeQuantize,
    HistogramObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
    QConfig,
    QuantStub,
    convert,
    fuse_modules,
    fuse_modules_qat,
    get_default_qconfig_mapping,
    prepare,
    prepare_qat,
    quantize_dynamic,
)
from torch.ao.quantization.backend_config import BackendConfig, get_onednn_backend_config
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.jit._trace import TracerWarning

__all__ = [
    "BackendConfig",
    "DeQuantStub",
    "FakeQuantizeBase",
    "FloatFunctional",
    "FusedMovingAvgObsFakeQuantize",
    "HistogramObserver",
    "MovingAverageMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver",
    "PerChannelMinMaxObserver",
    "QConfig",
    "QuantStub",
    "convert",
    "convert_fx",
    "fuse_modules",
    "fuse_modules_qat",
    "get_default_qconfig_mapping",
    "get_onednn_backend_config",
    "on_engine",
    "prepare",
    "prepare_fx",
    "prepare_qat",
    "quantize_dynamic",
    "quantized_engine",
    "suppress_deprecations",
]


@contextmanager
def suppress_deprecations() -> Iterator[None]:
    """Hide the deprecation notices that using this seam brings, which no user can act on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(deprecated|TypedStorage)")
        # Structure is built without data where only its shape is wanted: see backends.eager.
        warnings.filterwarnings("ignore", message=".*must run observer before")
        warnings.filterwarnings("ignore", message=".*Please use quant_min and quant_max")
        # Scales are constants of a converted model: tracing them as such is what is wanted.
        warnings.filterwarnings("ignore", category=TracerWarning)
        yield


@contextmanager
def quantized_engine(engine: str) -> Iterator[None]:
    """Pack quantized weights for an engine; torch keeps the choice in a global.

    The name of an engine that is not one of torch's leaves the choice as it is.
    """
    previous = torch.backends.quantized.engine
    if engine in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = engine
    try:
        with suppress_deprecations():
            yield
    finally:
        torch.backends.quantized.engine = previous


def on_engine(engine: str, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A model that always runs on an engine, whatever the global choice is then.

    Some operators look at the choice when they run, not only when weights are packed. The name of
    an engine that is not one of torch's gives the model as it is.
    """
    if engine not in torch.backends.quantized.supported_engines:
        return forward

    def run(images: Tensor) -> Tensor:
        previous = torch.backends.quantized.engine
        if previous == engine:
            return forward(images)
        torch.backends.quantized.engine = engine
        try:
            return forward(images)
        finally:
            torch.backends.quantized.engine = previous

    return run
