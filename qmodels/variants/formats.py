"""The table of formats: how each runtime's artifacts are stored."""

from qmodels.runtimes.cuda import CUDA_FLOAT, CUDA_INT8
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import SCRIPT, WEIGHTS
from qmodels.runtimes.format import Format, Structure
from qmodels.runtimes.inductor import PACKAGE
from qmodels.runtimes.onnxruntime import ONNX
from qmodels.runtimes.openvino import IR
from qmodels.runtimes.packed import PACKED
from qmodels.runtimes.tensorrt import PLAN

__all__ = [
    "CUDA_FLOAT",
    "CUDA_INT8",
    "IR",
    "ONNX",
    "PACKAGE",
    "PACKED",
    "PLAN",
    "SCRIPT",
    "WEIGHTS",
    "Format",
    "Runnable",
    "Structure",
]
