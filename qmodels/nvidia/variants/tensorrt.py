"""A variant by TensorRT on an NVIDIA GPU, from a graph with quantize and dequantize nodes."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from qmodels.network.fusion import fuse
from qmodels.nvidia import calibration as observation
from qmodels.nvidia import qdq, tensorrt
from qmodels.nvidia.residual import residual_network
from qmodels.variants.registry import variant

if TYPE_CHECKING:
    from onnx import ModelProto


@variant(
    backend=tensorrt.BACKEND,
    summary="int8 by TensorRT, explicit precision (Q/DQ), CUDA graphs",
    arithmetic="int8",
    int8_share=0.999,  # all but the linear layer
)
def tensorrt_int8(model: nn.Module, calibration: Tensor) -> "ModelProto":
    """Symmetric int8, as TensorRT demands; the engine is built when this is stored."""
    fused = residual_network(fuse(model))
    scales = observation.scales(fused, calibration, symmetric=True)
    return qdq.graph(fused, scales, tuple(calibration.shape[1:]))
