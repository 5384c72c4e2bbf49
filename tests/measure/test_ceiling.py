import torch

from qmodels import machine
from qmodels.measure import ceiling, memory
from qmodels.runtimes import dispatch


def test_each_arithmetic_multiplies_as_much_as_it_says() -> None:
    limits = ceiling.limits()
    assert "ceiling-float32" in limits
    nothing = torch.empty(0)
    if machine.quantized_engine() != "none":
        (kernel,) = dispatch.kernels(limits["ceiling-int8"](), nothing)
        assert kernel.int8
        assert kernel.macs == ceiling.MACS
    rows = {row.name for row in memory.profile(limits["ceiling-float32"](), nothing).rows}
    assert "mkldnn::_convolution_pointwise" in rows
