"""Convolutions of int8 as Triton kernels: implicit matrix products, all that follows fused in.

Needs nothing but torch and Triton. The rows of the product are output pixels, its columns output
channels. It sums over the taps of the kernel and the input channels, without an unfolded copy of
the image. ``qmodels.nvidia.integer`` says what is computed, and why in integers. Results equal
those of its ``convolve`` bit for bit, because sums of integers have no order.

Under ``TRITON_INTERPRET=1``, set before this module is imported, the kernels run on the CPU.
"""

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from qmodels.nvidia import integer
from qmodels.nvidia.integer import Convolution, IntegerArithmetic
from qmodels.system.errors import UserError

_QUANTIZE_BLOCK = 1024
# Rows, output channels and input channels of a tile, warps, and loads in flight. An image alone
# has few rows in the last stages, where narrow tiles leave more of them to run at once.
TILES = (
    (128, 128, 64, 8, 3),
    (128, 64, 64, 4, 4),
    (64, 128, 64, 4, 4),
    (64, 64, 64, 4, 4),
    (64, 64, 128, 4, 3),
    (32, 64, 128, 4, 4),
    (32, 32, 128, 4, 4),
    (16, 32, 128, 4, 5),
    (16, 16, 256, 4, 4),
)
# Joining a product and a sum would round once where the reference rounds twice.
UNFUSED = {"enable_fp_fusion": False}
INTERPRETED_TILE = {"block_rows": 32, "block_outputs": 16, "block_channels": 32}


@triton.jit  # type: ignore[untyped-decorator]
def convolve_kernel(  # type: ignore[no-untyped-def]
    x,
    weight,
    multiplier,
    offset,
    numbers,
    residual,
    y,
    rows,
    height,
    width,
    channels,
    out_height,
    out_width,
    outputs,
    stride: tl.constexpr,
    kernel: tl.constexpr,
    has_residual: tl.constexpr,
    block_rows: tl.constexpr,
    block_outputs: tl.constexpr,
    block_channels: tl.constexpr,
):
    """One tile of rows and output channels of ``integer.convolve``."""
    padding_value = tl.load(numbers).to(tl.int8)
    residual_multiplier = tl.load(numbers + 1)
    shift = tl.load(numbers + 2)
    lowest = tl.load(numbers + 3)

    row = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    output = tl.program_id(1) * block_outputs + tl.arange(0, block_outputs)
    channel = tl.arange(0, block_channels)
    pixel = row % (out_height * out_width)
    top = pixel // out_width * stride - kernel // 2
    left = pixel % out_width * stride - kernel // 2
    # A large batch has more bytes than 32 bits count; one image, or one filter, never has.
    image = x + (row // (out_height * out_width)).to(tl.int64) * (height * width * channels)
    first = weight + output.to(tl.int64) * (kernel * kernel * channels)

    # Triton's own functions that are written in Triton (zeros, cdiv) are left out: they can't be
    # interpreted where Triton was imported to compile.
    sums = tl.full((block_rows, block_outputs), 0, tl.int32)
    # One loop over taps and channels, not two: Triton overlaps loads of the innermost loop alone,
    # which for 64 channels would have a single pass.
    blocks = (channels + block_channels - 1) // block_channels
    for step in range(kernel * kernel * blocks):
        tap = step // blocks
        here = (step % blocks) * block_channels + channel
        down = top + tap // kernel
        across = left + tap % kernel
        inside = (row < rows) & (down >= 0) & (down < height) & (across >= 0) & (across < width)
        known = here < channels
        values = tl.load(
            image[:, None] + ((down * width + across) * channels)[:, None] + here[None, :],
            mask=inside[:, None] & known[None, :],
            other=padding_value,
        )
        # Channels that are not there have weights of 0, so their values do not matter.
        filters = tl.load(
            first[None, :] + (tap * channels + here)[:, None],
            mask=known[:, None] & (output < outputs)[None, :],
            other=0,
        )
        sums = tl.dot(values, filters, sums, out_dtype=tl.int32)

    there = output < outputs
    factor = tl.load(multiplier + output, mask=there, other=0).to(tl.int64)
    addend = tl.load(offset + output, mask=there, other=0)
    total = sums.to(tl.int64) * factor[None, :] + addend[None, :]
    place = row.to(tl.int64)[:, None] * outputs + output[None, :]
    kept = (row < rows)[:, None] & there[None, :]
    if has_residual:
        added = tl.load(residual + place, mask=kept, other=0)
        total += added.to(tl.int64) * residual_multiplier
    result = tl.minimum(tl.maximum(total >> shift, lowest), 127)
    tl.store(y + place, result.to(tl.int8), mask=kept)


@triton.jit  # type: ignore[untyped-decorator]
def _quantize_kernel(  # type: ignore[no-untyped-def]
    images, steps, y, count, height, width, block: tl.constexpr
):
    """Some of the values of ``integer.quantize``, in the order in which they are written."""
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    channel = place % 3
    pixel = place // 3 % (height * width)
    image = place // (3 * height * width)
    read = (image * 3 + channel) * (height * width) + pixel
    value = tl.load(images + read, mask=place < count, other=0.0)
    scaled = tl.floor(value * tl.load(steps) + tl.load(steps + 1))
    limited = tl.minimum(tl.maximum(scaled, -128.0), 127.0)
    tl.store(y + place, limited.to(tl.int8), mask=place < count)


def _autotuned_kernel() -> Any:
    """The kernel with the tile that is fastest here, found for each shape when it is first met."""
    configurations = [
        triton.Config(
            {"block_rows": rows, "block_outputs": outputs, "block_channels": channels},
            num_warps=warps,
            num_stages=stages,
        )
        for rows, outputs, channels, warps, stages in TILES
    ]
    key = ["rows", "channels", "outputs", "stride", "kernel", "has_residual"]
    return triton.autotune(configurations, key)(convolve_kernel)


_TUNED = _autotuned_kernel()


def convolve(x: Tensor, layer: Convolution, residual: Tensor | None = None) -> Tensor:
    """``integer.convolve`` on the device of its tensors.

    Raises:
        UserError: a tensor does not fit, is not contiguous, or is on another device.
    """
    shape = integer.check(x, layer, residual)
    for name, tensor in (("x", x), ("a residual", residual)):
        if tensor is not None and (
            tensor.device != layer.weight.device or not tensor.is_contiguous()
        ):
            raise UserError(
                f"a convolution got {name} on {tensor.device} with strides {tensor.stride()}: "
                f"give it contiguous on {layer.weight.device}"
            )
    batch, out_height, out_width, outputs = shape
    y = x.new_empty(shape)
    rows = batch * out_height * out_width
    arguments = (
        x,
        layer.weight,
        layer.multiplier,
        layer.offset,
        layer.numbers,
        y if residual is None else residual,  # not read without one
        y,
        rows,
        x.shape[1],
        x.shape[2],
        x.shape[3],
        out_height,
        out_width,
        outputs,
    )
    facts = {
        "stride": layer.stride,
        "kernel": layer.weight.shape[1],
        "has_residual": residual is not None,
    }
    launched, tile = (_TUNED, {}) if x.is_cuda else (convolve_kernel, INTERPRETED_TILE)
    launched[grid(rows, outputs)](*arguments, **facts, **tile, **UNFUSED)
    return y


def grid(rows: int, outputs: int) -> Callable[[dict[str, int]], tuple[int, int]]:
    """Programs of a launch, by the tile that is chosen for it."""

    def programs(chosen: dict[str, int]) -> tuple[int, int]:
        return (
            triton.cdiv(rows, chosen["block_rows"]),
            triton.cdiv(outputs, chosen["block_outputs"]),
        )

    return programs


def quantize(images: Tensor, steps: Tensor) -> Tensor:
    """``integer.quantize`` on the device of its tensors.

    Raises:
        UserError: the images are not (N, 3, height, width) float32.
    """
    if images.dim() != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
        raise UserError(
            f"quantize got images of shape {tuple(images.shape)} and {images.dtype}: give it "
            "(N, 3, height, width) of torch.float32"
        )
    batch, _, height, width = images.shape
    y = torch.empty(batch, height, width, 3, dtype=torch.int8, device=images.device)
    count = y.numel()
    arguments = (images.contiguous(), steps, y, count, height, width)
    programs = (triton.cdiv(count, _QUANTIZE_BLOCK),)
    _quantize_kernel[programs](*arguments, block=_QUANTIZE_BLOCK, **UNFUSED)
    return y


TRITON = IntegerArithmetic(quantize, convolve)
