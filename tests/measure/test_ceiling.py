import torch

from qmodels.backends import dispatch
from qmodels.backends.torch_engine import default_engine
from qmodels.measure import ceiling, memory


def test_each_arithmetic_multiplies_as_much_as_it_says() -> None:
    limits = ceiling.limits()
    assert "ceiling-float32" in limits
    nothing = torch.empty(0)
    if default_engine() != "none":
        (kernel,) = dispatch.kernels(limits["ceiling-int8"](), nothing)
        assert kernel.int8
        assert kernel.macs == ceiling.MACS
    rows = {row.name for row in memory.profile(limits["ceiling-float32"](), nothing).rows}
    assert "mkldnn::_convolution_pointwise" in rows
