"""TensorRT on an NVIDIA GPU, from a graph that says what to round."""

from typing import TYPE_CHECKING

from torch import Tensor

from qmodels import calibration as observation
from qmodels.fusion import fuse
from qmodels.resnet import Resnet34
from qmodels.runtimes import cuda, qdq
from qmodels.runtimes.tensorrt import PLAN
from qmodels.variants.registry import variant

if TYPE_CHECKING:
    from onnx import ModelProto


@variant(
    "tensorrt-int8",
    engine="tensorrt",
    summary="int8 by TensorRT, explicit precision (Q/DQ), CUDA graphs",
    format=PLAN,
    arithmetic="int8",
    int8_share=0.999,  # all but the linear layer
    calibrates=True,
    requires=("tensorrt", "onnx"),
    extra="tensorrt",
    here=cuda.missing,
)
def tensorrt_int8(model: Resnet34, calibration: Tensor | None) -> "ModelProto":
    """Symmetric int8, as TensorRT demands; the engine is built when this is stored."""
    assert calibration is not None
    fused = fuse(model)
    return qdq.graph(fused, observation.scales(fused, calibration, symmetric=True))
