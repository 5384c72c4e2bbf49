"""The machine's limit: how fast one well-shaped convolution is, in each arithmetic.

A network is mostly convolutions, so it can't be much faster than its multiply-accumulates at this
speed. The convolution is timed in turn with the models, in the same run: its absolute speed drifts
with theirs.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from qmodels.backends.base import ForwardFn
from qmodels.backends.torch_engine import ENGINES, default_engine
from qmodels.network import eager_quantization
from qmodels.system import machine

# 3x3, over images of a side, so many at a time: large enough to hide what starting it costs, small
# enough to stay in the caches of a core.
IMAGES, CHANNELS, SIDE = 4, 256, 16
MACS = IMAGES * CHANNELS * CHANNELS * 9 * SIDE * SIDE
TRIES = 5


def name(arithmetic: str) -> str:
    """What the limit for an arithmetic is called among the models that take turns."""
    return f"ceiling-{arithmetic}"


def limits() -> dict[str, Callable[[], ForwardFn]]:
    """What makes the convolution of each arithmetic that this machine has, by its name.

    They take images, as models do, and ignore them.
    """
    makers: dict[str, Callable[[], ForwardFn]] = {"float32": lambda: floating(torch.float32)}
    if machine.multiplies_bfloat16():
        makers["bfloat16"] = lambda: floating(torch.bfloat16)
    if default_engine() != "none":
        makers["int8"] = int8
    return {name(arithmetic): make for arithmetic, make in makers.items()}


def floating(dtype: torch.dtype) -> ForwardFn:
    """By oneDNN, weights laid out ahead."""
    image = torch.randn(IMAGES, CHANNELS, SIDE, SIDE).to(dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3).to(dtype)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(image.shape))

    def run(images: Tensor) -> Tensor:
        torch.ops.mkldnn._convolution_pointwise(image, packed, None, *geometry, "none", [], "")
        return images

    return run


def int8() -> ForwardFn:
    """By the fastest of torch's engines."""
    known = [name for name in ENGINES if name in torch.backends.quantized.supported_engines]
    return min((convolution(engine) for engine in known), key=fastest)


def convolution(engine: str) -> ForwardFn:
    """By one engine, activations uint8 and weights int8."""
    image = torch.quantize_per_tensor(
        torch.randn(IMAGES, CHANNELS, SIDE, SIDE), 0.05, 64, torch.quint8
    ).contiguous(memory_format=torch.channels_last)
    weight = torch.quantize_per_tensor(torch.randn(CHANNELS, CHANNELS, 3, 3), 0.05, 0, torch.qint8)
    with eager_quantization.quantized_engine(engine):
        packed = torch.ops.quantized.conv2d_prepack(weight, None, [1, 1], [1, 1], [1, 1], 1)

    def run(images: Tensor) -> Tensor:
        torch.ops.quantized.conv2d.new(image, packed, 0.5, 64)
        return images

    return eager_quantization.on_engine(engine, run)


def fastest(run: ForwardFn) -> float:
    """Seconds of the fastest of some calls."""
    nothing = torch.empty(0)
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        run(nothing)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
