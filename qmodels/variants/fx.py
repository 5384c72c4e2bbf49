"""Post-training static quantization in FX graph mode: torch finds what to fuse and quantize."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qmodels import machine, torch_ao
from qmodels.resnet import BasicBlock, Resnet34, random_images
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import SCRIPT
from qmodels.variants.registry import variant
from qmodels.variants.static import KERNELS, freeze, qconfig

ENGINE = machine.quantized_engine()


class AddRelu(nn.Module):
    """``FloatFunctional.add_relu`` as an addition and a module: what oneDNN's patterns know."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """The rectified sum of two tensors of one shape."""
        rectified: Tensor = self.relu(torch.add(x, y))
        return rectified


@variant(
    "static-int8-onednn",
    engine="onednn",
    summary="static-int8 on oneDNN, residual sums fused into convolutions",
    format=SCRIPT,
    arithmetic="int8",
    int8_share=1.0,
    calibrates=True,
    kernels=("quantized::conv2d_relu", "quantized::linear"),
)
def static_int8_onednn(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Convolution, residual sum and ReLU are one kernel, which is always faster than two.

    Its intermediate, the convolution's own output, is not rounded.
    """
    fusible = copy.deepcopy(model)
    for module in fusible.modules():
        if isinstance(module, BasicBlock):
            module.add = AddRelu()  # type: ignore[assignment]
    backend = torch_ao.get_onednn_backend_config()
    return freeze(quantize(fusible, calibration, "onednn", backend=backend), "onednn")


@variant(
    "fx-int8",
    engine=ENGINE,
    summary="int8 by FX graph mode, frozen as TorchScript",
    format=SCRIPT,
    arithmetic="int8",
    int8_share=1.0,
    calibrates=True,
    kernels=KERNELS,
)
def fx_int8(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Trace, fuse, calibrate, convert and freeze."""
    return freeze(quantize(model, calibration, ENGINE), ENGINE)


def quantize(
    model: nn.Module,
    calibration: Tensor | None,
    engine: str,
    *,
    in_float: Sequence[str] = (),
    backend: torch_ao.BackendConfig | None = None,
) -> nn.Module:
    """A statically quantized copy of a float model in eval mode.

    Args:
        calibration: images (N, 3, 32, 32) float32, normalized; with None the ranges stay unset.
        engine: whose kernels will run it, and so how many bits its weights get.
        in_float: modules that stay float, by name.
        backend: what can be fused; torch's default otherwise.
    """
    with torch_ao.quantized_engine(engine):
        mapping = torch_ao.QConfigMapping().set_global(qconfig(engine))
        for name in in_float:
            mapping.set_module_name(name, None)
        prepared = torch_ao.prepare_fx(
            copy.deepcopy(model), mapping, (random_images(1),), backend_config=backend
        )
        if calibration is not None:
            with torch.inference_mode():
                prepared(calibration)
        converted: nn.Module = torch_ao.convert_fx(prepared, backend_config=backend)
    return converted
