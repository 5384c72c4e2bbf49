from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from qmodels.backends import onednn_log
from qmodels.network.layers import Layer

BEGAN = 1795861681156.433105
INT8 = (
    f"onednn_verbose,v1,{BEGAN:.6f},primitive,exec,cpu,convolution,brg_conv_fwd:avx512_core_vnni,"
    "forward_inference,src:u8::blocked:acdb::f0 wei:s8:a:blocked:AcdB16a4b::f0 "
    "bia:f32:a:blocked:a::f0 dst:u8::blocked:acdb::f0,attr-scratchpad:user "
    "attr-post-ops:eltwise_relu,alg:convolution_direct,"
    "mb2_ic16oc32_ih32oh16kh3sh2dh0ph1_iw32ow16kw3sw2dw0pw1,0.0139"
)
FLOAT = INT8.replace("src:u8", "src:f32").replace("wei:s8", "wei:f32")
GROUPED = INT8.replace("mb2_ic", "g4mb2_ic")
OLDER = INT8.replace("v1,", "")
MATMUL = (
    f"onednn_verbose,v1,{BEGAN:.6f},primitive,exec,cpu,matmul,brg_matmul:avx512_core_vnni,undef,"
    "src:u8::blocked:ab::f0 wei:s8:a:blocked:BA16a64b4a::f0 dst:f32::blocked:ab::f0,"
    "attr-scratchpad:user,,2x128:128x100,0.005"
)
PRODUCT = (
    f"onednn_verbose,v1,{BEGAN:.6f},primitive,exec,cpu,inner_product,brgemm:avx512_core,"
    "forward_inference,src:f32::blocked:ab::f0 wei:f32:a:blocked:AB::f0 dst:f32::blocked:ab::f0,"
    "attr-scratchpad:user,,mb2ic128oc100,0.005"
)
UNSTAMPED = INT8.replace(f"{BEGAN:.6f},", "")
REORDER = (
    f"onednn_verbose,v1,{BEGAN:.6f},primitive,exec,cpu,reorder,jit:blk,undef,src:f32 dst:f32,,,"
    "16x3,0.1"
)
CREATED = INT8.replace("exec", "create:cache_miss")


@pytest.mark.parametrize(
    ("line", "weight", "macs", "int8"),
    [
        (INT8, (32, 16, 3, 3), 2 * 32 * 16 * 16 * 16 * 9, True),
        (OLDER, (32, 16, 3, 3), 2 * 32 * 16 * 16 * 16 * 9, True),
        (UNSTAMPED, (32, 16, 3, 3), 2 * 32 * 16 * 16 * 16 * 9, True),
        (FLOAT, (32, 16, 3, 3), 2 * 32 * 16 * 16 * 16 * 9, False),
        (GROUPED, (32, 4, 3, 3), 2 * 32 * 16 * 16 * 4 * 9, True),
        (MATMUL, (100, 128), 2 * 128 * 100, True),
        (PRODUCT, (100, 128), 2 * 128 * 100, False),
        (REORDER, None, 0, False),
    ],
)
def test_a_line_of_the_log_is_a_primitive(
    line: str, weight: tuple[int, ...] | None, macs: int, int8: bool
) -> None:
    primitive = onednn_log.read(line)
    assert primitive is not None
    assert (primitive.weight, primitive.macs, primitive.int8) == (weight, macs, int8)
    if line is UNSTAMPED:
        assert primitive.began is None
    else:
        assert primitive.began == pytest.approx(BEGAN / 1000, abs=1e-6)
    assert primitive.seconds == 1e-3 * float(line.rpartition(",")[2])


@pytest.mark.parametrize("line", [CREATED, "", "onednn_verbose,v1,info,cpu,runtime:OpenMP"])
def test_other_lines_are_none(line: str) -> None:
    assert onednn_log.read(line) is None


@pytest.fixture(scope="module")
def weight() -> Tensor:
    weight = torch.randn(32, 16, 3, 3)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, [])
    return packed


@pytest.fixture
def forward(weight: Tensor) -> nn.Module:
    class Convolution(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = torch.ops.mkldnn._convolution_pointwise(
                images, weight, None, [1, 1], [1, 1], [1, 1], 1, "none", [], ""
            )
            return out

    return Convolution()


def test_what_ran_is_seen_and_nothing_of_it_is_printed(
    capfd: pytest.CaptureFixture[str], forward: nn.Module
) -> None:
    (kernel,) = onednn_log.kernels(forward, torch.randn(1, 16, 8, 8))
    assert kernel.macs == 32 * 64 * 16 * 9
    assert not kernel.int8
    assert "onednn_verbose" not in capfd.readouterr().out


def test_each_forward_has_its_own_primitives(forward: nn.Module) -> None:
    layer = Layer("only", (32, 16, 3, 3))
    for layers, name in (([layer], "only"), ([replace(layer, weight=(32, 16, 1, 1))], None)):
        forwards = onednn_log.profile(forward, layers, torch.randn(1, 16, 8, 8), 3)
        assert len(forwards) == 3
        for profiled in forwards:
            (convolution,) = (step for step in profiled.steps if "convolution" in step.operation)
            assert convolution.layer == name
            assert 0 <= convolution.start < convolution.start + convolution.seconds
            assert convolution.seconds < profiled.seconds


def test_a_grouped_convolution_is_its_own_layer() -> None:
    """As oneDNN writes it."""
    grouped = torch.randn(16, 1, 3, 3)

    def forward(images: Tensor) -> Tensor:
        return nn.functional.conv2d(images, grouped, groups=16)

    layers = [Layer("full", (16, 16, 3, 3)), Layer("grouped", (16, 1, 3, 3))]
    (profiled,) = onednn_log.profile(forward, layers, torch.randn(8, 16, 32, 32), 1)
    names = [step.layer for step in profiled.steps if "convolution" in step.operation]
    assert names == ["grouped"]
