"""The table of formats: how each runtime's artifacts are stored."""

from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import SCRIPT, WEIGHTS
from qmodels.runtimes.format import Format, Structure
from qmodels.runtimes.inductor import PACKAGE
from qmodels.runtimes.onnxruntime import ONNX
from qmodels.runtimes.openvino import IR
from qmodels.runtimes.packed import PACKED

__all__ = [
    "IR",
    "ONNX",
    "PACKAGE",
    "PACKED",
    "SCRIPT",
    "WEIGHTS",
    "Format",
    "Runnable",
    "Structure",
]
