"""The mark of tests of eager quantization, which newer releases of torch may lack."""

import pytest

from qmodels.backends import torch_ao

obstacle = torch_ao.obstacle()
needs_eager_quantization = pytest.mark.skipif(
    obstacle is not None, reason=obstacle.reason if obstacle else ""
)
