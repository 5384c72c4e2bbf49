"""Measure and gate the costs and gains of quantizing a convolutional network."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qmodels.measure.metric import Metric
    from qmodels.network import Network, open_network

__version__ = "0.1.0"

# ONNX Runtime, OpenVINO and NNCF send telemetry, and keep an identifier of the machine, unless this
# is set before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__all__ = ["Metric", "Network", "open_network"]
_MODULES = {
    "Metric": "qmodels.measure.metric",
    "Network": "qmodels.network",
    "open_network": "qmodels.network",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for: torch takes seconds."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
