"""What tests say of eager quantization, which newer releases of torch may lack."""

import pytest

from qmodels.backends import torch_ao

OBSTACLE = torch_ao.obstacle()
VARIANTS = {
    *("dynamic-fp16", "dynamic-int8", "static-int8", "static-int8-jit"),
    *("static-int8-onednn", "fx-int8", "mixed-int8", "qat-int8"),
}
needs_eager_quantization = pytest.mark.skipif(
    OBSTACLE is not None, reason=OBSTACLE.reason if OBSTACLE else ""
)
