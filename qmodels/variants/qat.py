"""Quantization-aware training, converted: what was trained to be rounded is rounded."""

from torch import Tensor

from qmodels import fake_quantize
from qmodels.resnet import Resnet34
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import SCRIPT
from qmodels.variants.registry import variant
from qmodels.variants.static import ENGINE, KERNELS, freeze


@variant(
    "qat-int8",
    engine=ENGINE,
    summary="fine-tuned with fake-quantization, converted, frozen as TorchScript",
    format=SCRIPT,
    arithmetic="int8",
    int8_share=1.0,
    quantization_aware=True,
    kernels=KERNELS,
)
def qat_int8(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """Convert a fake-quantized model, then trace and freeze it as ``static_int8_jit`` does."""
    return freeze(fake_quantize.convert(model, ENGINE), ENGINE)
