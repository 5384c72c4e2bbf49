"""The arithmetic of training: float32, or bfloat16 where a short probe says that it is faster."""

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from qmodels.system import machine

# What multiplies bfloat16: nothing; all that autocast knows; convolutions alone, because fake
# quantization fails under autocast.
Precision = Literal["float32", "bfloat16", "bfloat16-convolutions"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# A smaller gain is noise, and not worth the rounding.
_LEAST_GAIN = 1.1
PROBE_IMAGES, _PROBE_STEPS = 32, 3
_CONVOLUTION: Any = functional.conv2d


class _Bfloat16Convolutions(TorchFunctionMode):
    """Within it, convolutions multiply bfloat16; their inputs and outputs stay float32."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is not _CONVOLUTION:
            return func(*args, **(kwargs or {}))
        operands = [arg.bfloat16() if isinstance(arg, Tensor) else arg for arg in args]
        return func(*operands, **(kwargs or {})).to(args[0].dtype)


def context(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A forward within it is computed in a precision."""
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return _Bfloat16Convolutions() if precision == "bfloat16-convolutions" else nullcontext()


def choose(model: nn.Module, images: Tensor, reduced: Precision) -> Precision:
    """The faster of float32 and ``reduced``, for steps of a model on its device.

    Processors without instructions for bfloat16 emulate it, so they are not probed. GPUs that have
    them are always faster with them.

    Args:
        model: in training mode; a copy of it is probed.
        images: (N, C, H, W) float32, of a training step.
    """
    if images.device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return reduced if reduced == "bfloat16" and supported else "float32"
    if not machine.multiplies_bfloat16():
        return "float32"
    faster = _LEAST_GAIN * step_seconds(model, images, reduced) < step_seconds(
        model, images, "float32"
    )
    return reduced if faster else "float32"


def step_seconds(model: nn.Module, images: Tensor, precision: Precision) -> float:
    """Seconds of a forward and a backward of a copy of a model: the best of ``_PROBE_STEPS``."""
    probed = copy.deepcopy(model)
    seconds = []
    for _ in range(_PROBE_STEPS):
        start = time.perf_counter()
        with context(precision, images.device):
            loss = probed(images).float().square().mean()
        loss.backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
