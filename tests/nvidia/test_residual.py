"""Which networks have the residual blocks that int8 kernels for GPUs compute."""

import pytest
from torch import nn

from qmodels import variants
from qmodels.network import resnet
from qmodels.network.fusion import fuse
from qmodels.nvidia.residual import residual_network
from qmodels.system.errors import Unavailable
from tests import outside


def test_its_blocks_are_those_of_the_network_in_order() -> None:
    whole = fuse(resnet.build("resnet34", 4, 10).eval())
    network = residual_network(whole)
    assert len(network.blocks) == 16
    assert [block.name for block in network.blocks if block.shortcut] == [
        "stages.1.0",
        "stages.2.0",
        "stages.3.0",
    ]
    convolutions = [module for module in whole.modules() if isinstance(module, nn.Conv2d)]
    listed = [network.conv]
    for block in network.blocks:
        listed += [block.conv1, block.conv2, *([block.shortcut] if block.shortcut else [])]
    assert listed == convolutions


@pytest.mark.parametrize("name", ["cuda-int8", "tensorrt-int8"])
@pytest.mark.parametrize(
    ("network", "said"),
    [
        (resnet.build("preact_resnet34", 8, 10), "choose resnet34"),
        (outside.trained(), "resnet34, which Sides does not have: leave this variant out"),
    ],
)
def test_others_are_refused_in_a_line(name: str, network: nn.Module, said: str) -> None:
    with pytest.raises(Unavailable, match=said):
        variants.all_variants()[name].quantize(network.eval(), resnet.random_images(4))
