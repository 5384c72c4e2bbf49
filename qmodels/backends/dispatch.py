"""See and replace the operators that torch dispatches: of eager models and of TorchScript alike.

Models that run operator by operator pass through torch's dispatcher. A mode sees every call there
with its arguments. So it can count the kernels and their work, and compute the same in reference
arithmetic.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from qmodels.backends.base import UNTIMED, ForwardFn, Kernel, ProfiledForward, Step
from qmodels.network.layers import Layer, assign

_FORWARD = "qmodels forward"
# Names of operators that multiply, whatever they are called by.
_KERNEL = re.compile(r"conv|mm|linear|matmul")


@dataclass(frozen=True)
class Product:
    """A convolution or linear layer as it was called, and what it gave.

    Attributes:
        weight: the shape of its weight, (out, in / groups, ...).
        output: float32, dequantized if it was quantized.
    """

    operator: str
    weight: tuple[int, ...]
    output: Tensor
    integer: bool


def kernels(forward: ForwardFn, images: Tensor) -> list[Kernel]:
    """The kernels of a forward, in their order; each layer is named by its place among them."""
    return [
        Kernel(str(place), product.operator, _macs(product), product.integer)
        for place, product in enumerate(products(forward, images))
    ]


def _macs(product: Product) -> int:
    """Multiply-accumulates: each output is a sum over all but the first dimension of weights."""
    return product.output.numel() * prod(product.weight[1:])


def products(forward: ForwardFn, images: Tensor, *, exactly: bool = False) -> list[Product]:
    """Every convolution and linear layer of a forward.

    Args:
        exactly: replace quantized kernels by reference arithmetic on the same inputs.
    """
    recorded: list[Product] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = func.name().partition(".")[0]
            out = exact(name, args) if exactly and name in _EXACT else func(*args, **(kwargs or {}))
            if name in _WEIGHTS:
                integer = name.startswith("quantized::") and not name.endswith("fp16")
                plain = out.dequantize() if getattr(out, "is_quantized", False) else out
                weight = tuple(_WEIGHTS[name](args).shape)
                recorded.append(Product(name, weight, plain, integer))
            return out

    with torch.inference_mode(), _unoptimized(), Recorder():  # type: ignore[no-untyped-call]
        forward(images)
    return recorded


def names_of(ran: Sequence[Product], layers: Sequence[Layer]) -> list[str | None]:
    """The layer of each operator that multiplied; see ``assign``."""
    # A linear layer may multiply tokens of all images as one matrix.
    outputs = [out.shape[1:] if out.dim() == 4 else () for out in (each.output for each in ran)]
    return assign([product.weight for product in ran], layers, outputs)


def profile(
    forward: ForwardFn, layers: Sequence[Layer], images: Tensor, forwards: int
) -> list[ProfiledForward]:
    """Forwards as torch's profiler sees them; see ``Backend.profile``."""
    names = names_of(products(forward, images), layers)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.inference_mode(), torch.profiler.profile(activities=activities) as profiler:
        for _ in range(UNTIMED + forwards):
            with torch.profiler.record_function(_FORWARD):
                forward(images)
    events: Any = profiler.events()
    recorded = [event for event in events if event.name == _FORWARD]
    return [_read(event, iter(names)) for event in recorded[UNTIMED:]]


def _read(event: Any, names: Iterator[str | None]) -> ProfiledForward:
    """A forward from its event in the profile.

    Args:
        names: of the layers of the products in it.
    """
    started = event.time_range.start
    steps = []
    for operator in _operators(event):
        layer = next(names) if operator.name in _WEIGHTS else None
        # torch has several kernels for a convolution, which it calls as operators of their own.
        called = [inner for inner in _tree(operator) if _KERNEL.search(inner.name)] or [operator]
        kernel = max(called, key=lambda inner: float(inner.self_cpu_time_total))
        span = operator.time_range
        steps.append(
            Step(layer, kernel.name, 1e-6 * (span.start - started), 1e-6 * span.elapsed_us())
        )
    return ProfiledForward(1e-6 * event.time_range.elapsed_us(), tuple(steps))


def _operators(event: Any) -> Iterator[Any]:
    """The outermost operators in an event of the profile; functions of TorchScript are none."""
    for inner in event.cpu_children:
        if "::" in inner.name:
            yield inner
        else:
            yield from _operators(inner)


def _tree(event: Any) -> Iterator[Any]:
    yield event
    for inner in event.cpu_children:
        yield from _tree(inner)


def reference(forward: ForwardFn) -> ForwardFn:
    """A model whose quantized kernels are replaced by reference arithmetic on the same integers."""

    class Reference(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = func.name().partition(".")[0]
            return exact(name, args) if name in _EXACT else func(*args, **(kwargs or {}))

    def run(images: Tensor) -> Tensor:
        with _unoptimized(), Reference():  # type: ignore[no-untyped-call]
            return forward(images)

    return run


def _unoptimized() -> AbstractContextManager[None]:
    """While it lasts, TorchScript rewrites no graph before it runs one.

    To do that it compares constants by ``aten::equal``, numbers with tensors too, and a dispatch
    mode fails at those.
    """
    unoptimized = getattr(torch.jit, "optimized_execution", None)  # goes with TorchScript
    context: AbstractContextManager[None] = unoptimized(False) if unoptimized else nullcontext()
    return context


def exact(name: str, args: Any) -> Tensor:
    """An operator's result in reference arithmetic: dequantize, multiply in float32, quantize."""
    value, scale, zero_point = _EXACT[name](args)
    return torch.quantize_per_tensor(value, scale, zero_point, torch.quint8)


def _convolve_exactly(x: Tensor, packed: Any) -> Tensor:
    """A quantized convolution's float32 result before it is rounded."""
    weight, bias = torch.ops.quantized.conv2d_unpack(packed)
    ops = torch.ops.quantized
    return torch.nn.functional.conv2d(
        x.dequantize(),
        weight.dequantize(),
        bias,
        ops.conv2d_stride(packed),
        ops.conv2d_padding(packed),
        ops.conv2d_dilation(packed),
        ops.conv2d_groups(packed),
    )


def _linear(x: Tensor, packed: Any) -> Tensor:
    """A quantized linear layer's float32 result before it is rounded."""
    weight, bias = torch.ops.quantized.linear_unpack(packed)
    return torch.nn.functional.linear(x.dequantize(), weight.dequantize(), bias)


# By operator: its float32 result, and the scale and zero point that it rounds to.
_EXACT: dict[str, Callable[[Any], tuple[Tensor, float, int]]] = {
    "quantized::conv2d": lambda a: (_convolve_exactly(a[0], a[1]), a[2], a[3]),
    "quantized::conv2d_relu": lambda a: (_convolve_exactly(a[0], a[1]).relu(), a[2], a[3]),
    "quantized::conv2d_add": lambda a: (
        _convolve_exactly(a[0], a[2]) + a[1].dequantize(),
        a[3],
        a[4],
    ),
    "quantized::conv2d_add_relu": lambda a: (
        (_convolve_exactly(a[0], a[2]) + a[1].dequantize()).relu(),
        a[3],
        a[4],
    ),
    "quantized::linear": lambda a: (_linear(a[0], a[1]), a[2], a[3]),
    "quantized::add": lambda a: (a[0].dequantize() + a[1].dequantize(), a[2], a[3]),
    "quantized::add_relu": lambda a: (
        (a[0].dequantize() + a[1].dequantize()).relu(),
        a[2],
        a[3],
    ),
}


def _unpack_weight(packed: Any) -> Tensor:
    weight: Tensor = torch.ops.quantized.conv2d_unpack(packed)[0]
    return weight


# By operator that multiplies: its weight.
_WEIGHTS: dict[str, Callable[[Any], Tensor]] = {
    "quantized::conv2d": lambda a: _unpack_weight(a[1]),
    "quantized::conv2d_relu": lambda a: _unpack_weight(a[1]),
    "quantized::conv2d_add": lambda a: _unpack_weight(a[2]),
    "quantized::conv2d_add_relu": lambda a: _unpack_weight(a[2]),
    "quantized::linear": lambda a: torch.ops.quantized.linear_unpack(a[1])[0],
    "quantized::linear_dynamic": lambda a: a[1].unpack()[0],
    "quantized::linear_dynamic_fp16": lambda a: a[1].unpack()[0],
    "aten::conv2d": lambda a: a[1],
    "aten::convolution": lambda a: a[1],
    "aten::_convolution": lambda a: a[1],
    "aten::linear": lambda a: a[1],
    "aten::addmm": lambda a: a[2].t(),
}
