"""The Triton kernels compiled: without a GPU, and on one."""

import re
from pathlib import Path

import pytest
import torch

from qmodels.nvidia import integer
from qmodels.system import packages
from tests.nvidia.integer_layers import operands, random_integers, random_layer

triton = pytest.importorskip(
    "triton", reason=f"the kernels are Triton's: {packages.install('cuda')}"
)

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.mark.parametrize(
    ("capability", "tile", "instruction"),
    [
        (90, 0, r"wgmma\.mma_async[.\w]*\.s32\.s8\.s8"),
        (90, -1, r"mma\.sync[.\w]*\.s32\.s8\.s8\.s32"),
        (80, 0, r"mma\.sync[.\w]*\.s32\.s8\.s8\.s32"),
    ],
)
def test_it_compiles_to_int8_tensor_cores_without_a_gpu(
    capability: int,
    tile: int,
    instruction: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And to copies of 16 bytes at a time that overlap with the products."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from qmodels.nvidia import triton_int8

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = triton_int8.convolve_kernel
    rows, outputs, channels, warps, stages = triton_int8.TILES[tile]
    constants = {
        **{"stride": 1, "kernel": 3, "has_residual": True},
        **{"block_rows": rows, "block_outputs": outputs, "block_channels": channels},
    }
    types = {
        **dict.fromkeys(("x", "weight", "residual", "y"), "*i8"),
        **{"multiplier": "*i32", "offset": "*i64", "numbers": "*i64"},
    }
    signature = {
        name: "constexpr" if name in constants else types.get(name, "i32")
        for name in kernel.arg_names
    }
    # What a launch finds out by itself: pointers and sizes are multiples of 16.
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if name not in constants
    }
    compiled = triton.compile(
        ASTSource(kernel, signature, constexprs=constants, attrs=aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps, "num_stages": stages, **triton_int8.UNFUSED},
    )
    code = compiled.asm["ptx"]
    assert re.search(instruction, code)
    assert re.search(r"cp\.async\.c[ag]\.shared\.global \[.*\], \[.*\], 0x10\b", code)


# Of ResNet-34 at width 64: channels, outputs, kernel, stride, ReLU, residual, and the image's side.
LAYERS = [
    (3, 64, 3, 1, True, False, 32),
    (64, 64, 3, 1, True, False, 32),
    (64, 64, 3, 1, True, True, 32),
    *[
        shape
        for outputs, side in ((128, 32), (256, 16), (512, 8))
        for shape in (
            (outputs // 2, outputs, 3, 2, True, False, side),
            (outputs // 2, outputs, 1, 2, False, False, side),
            (outputs, outputs, 3, 1, True, False, side // 2),
            (outputs, outputs, 3, 1, True, True, side // 2),
        )
    ],
]


@CUDA
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_the_compiled_kernel_gives_the_exact_result_to_the_bit(
    shape: tuple[int, int, int, int, bool, bool, int], batch: int
) -> None:
    from qmodels.nvidia import triton_int8

    channels, outputs, kernel, stride, relu, added, side = shape
    layer = random_layer(channels, outputs, kernel, stride, relu, added)
    x, residual = operands(layer, batch, side, side, added)
    expected = integer.convolve(x, layer, residual)
    if residual is not None:
        residual = residual.cuda()
    assert torch.equal(triton_int8.convolve(x.cuda(), layer.cuda(), residual).cpu(), expected)


@CUDA
@pytest.mark.parametrize("tile", range(9))
def test_every_tile_gives_the_exact_result(tile: int) -> None:
    """Tuning keeps whichever is fastest: none may be wrong."""
    from qmodels.nvidia import triton_int8

    rows, outputs, channels, warps, stages = triton_int8.TILES[tile]
    layer = random_layer(40, 72, 3, 2, True, False)
    x = random_integers(3, 9, 11, 40)
    expected = integer.convolve(x, layer)
    layer = layer.cuda()
    y = torch.empty(expected.shape, dtype=torch.int8, device="cuda")
    count = y.numel() // 72
    triton_int8.convolve_kernel[(triton.cdiv(count, rows), triton.cdiv(72, outputs))](
        *(x.cuda(), layer.weight, layer.multiplier, layer.offset, layer.numbers, y, y),
        *(count, 9, 11, 40, expected.shape[1], expected.shape[2], 72),
        **{"stride": 2, "kernel": 3, "has_residual": False},
        **{"block_rows": rows, "block_outputs": outputs, "block_channels": channels},
        num_warps=warps,
        num_stages=stages,
    )
    assert torch.equal(y.cpu(), expected)


@CUDA
def test_compiled_quantization_of_images_is_exact() -> None:
    from qmodels.nvidia import triton_int8

    images = torch.randn(256, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 3
    steps = torch.tensor([25.3, -7.5])
    got = triton_int8.quantize(images.cuda(), steps.cuda())
    assert torch.equal(got.cpu(), integer.quantize(images, steps))
