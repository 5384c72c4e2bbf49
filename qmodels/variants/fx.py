"""Post-training static quantization in FX graph mode: torch finds what to fuse and quantize."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qmodels.backends import torchscript
from qmodels.backends.torch_engine import TorchBackend, quantized_engine
from qmodels.quantize import histograms
from qmodels.variants.registry import variant
from qmodels.variants.static import KERNELS, SCRIPT, freeze, qconfig

if TYPE_CHECKING:
    from torch.ao.quantization.backend_config import BackendConfig

_ONEDNN = torchscript.BACKEND.on("onednn")
# Torch quantizes their weights by one scale for all channels alone, so they stay in float.
_PER_TENSOR = (nn.ConvTranspose2d, nn.functional.conv_transpose2d)


@variant(
    backend=_ONEDNN,
    summary="static-int8 on oneDNN, residual sums fused into convolutions",
    arithmetic="int8",
    int8_share=1.0,
    kernels=KERNELS,
)
def static_int8_onednn(model: nn.Module, calibration: Tensor) -> "torch.jit.ScriptModule":
    """Convolution, residual sum and ReLU are one kernel, which is always faster than two.

    Its intermediate, the convolution's own output, is not rounded.
    """
    from torch.ao.quantization import quantize_fx  # noqa: F401  ``backend_config`` imports it in a circle
    from torch.ao.quantization.backend_config import get_onednn_backend_config

    patterns = get_onednn_backend_config()
    return freeze(quantize(model, calibration, _ONEDNN, patterns=patterns), calibration, _ONEDNN)


@variant(
    backend=SCRIPT,
    summary="int8 by FX graph mode, frozen as TorchScript",
    arithmetic="int8",
    int8_share=1.0,
    kernels=KERNELS,
)
def fx_int8(model: nn.Module, calibration: Tensor) -> "torch.jit.ScriptModule":
    """Trace, fuse, calibrate, convert and freeze."""
    return freeze(quantize(model, calibration, SCRIPT), calibration, SCRIPT)


def quantize(
    model: nn.Module,
    calibration: Tensor,
    backend: TorchBackend,
    *,
    in_float: Sequence[str] = (),
    patterns: "BackendConfig | None" = None,
) -> nn.Module:
    """A statically quantized copy of a float model in eval mode.

    Args:
        calibration: images (N, C, H, W) float32, normalized.
        backend: whose kernels will run it, and so how many bits its weights get.
        in_float: modules that stay float, by name.
        patterns: what can be fused; torch's default otherwise.
    """
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    with quantized_engine(backend.engine):
        # With torch's own ranges for what has a known one, as a sigmoid.
        mapping = get_default_qconfig_mapping()
        mapping.set_global(qconfig(backend))
        for part in _PER_TENSOR:
            mapping.set_object_type(part, None)
        for name in in_float:
            mapping.set_module_name(name, None)
        prepared = prepare_fx(
            copy.deepcopy(model), mapping, (calibration[:1],), backend_config=patterns
        )
        histograms.observe(prepared, histograms.observers_of(prepared), calibration)
        converted: nn.Module = convert_fx(prepared, backend_config=patterns)
    return converted
