"""The reference: the float model as trained, unfused, run eagerly."""

from torch import nn

from qmodels.backends import eager
from qmodels.variants.registry import variant


@variant(
    backend=eager.BACKEND,
    summary="the trained model, unchanged",
    kernels={nn.Conv2d: ("aten::conv2d",), nn.BatchNorm2d: ("aten::batch_norm",)},
)
def fp32(model: nn.Module) -> nn.Module:
    """The model itself."""
    return model
