"""What quantizing a convolutional network costs and buys, measured and gated."""

import os
import sys

__version__ = "0.1.0"

# ONNX Runtime, OpenVINO and NNCF send telemetry, and keep an identifier of the machine, unless this
# is set before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
