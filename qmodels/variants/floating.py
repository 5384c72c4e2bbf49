"""The baseline: the float model as trained, unfused, run eagerly."""

from torch import Tensor

from qmodels.resnet import Resnet34
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import WEIGHTS
from qmodels.variants.registry import variant


@variant(
    "fp32",
    engine="eager",
    summary="the trained model, unchanged",
    format=WEIGHTS,
    kernels=("aten::conv2d", "aten::batch_norm"),
)
def fp32(model: Resnet34, calibration: Tensor | None) -> Runnable:
    """The model itself."""
    return model
