"""Whether torch has eager quantization and TorchScript, and what it says of their removal.

PyTorch plans to remove ``torch.ao.quantization`` (pytorch/ao #2259), and the dtypes and kernels of
eager quantization (pytorch #184982). TorchScript is deprecated.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from qmodels.system.errors import Obstacle

# Torch warns so at each call. The last two are about quantized tensors.
_ANNOUNCEMENTS = (
    r"torch\.ao\.quantization is deprecated",
    r"`torch\.jit\.\w+` is (deprecated|not supported)",
    r"torch\.quantize_per_tensor.* are deprecated",
    r"TypedStorage is deprecated",
)


def obstacle() -> Obstacle | None:
    """Why this torch can't quantize eagerly; None where it can."""
    try:
        from torch.ao import quantization  # noqa: F401

        lacks = not hasattr(torch, "quantize_per_tensor")  # announced apart from the package
    except ImportError:
        lacks = True
    return _lacking("eager quantization") if lacks else None


def torchscript_obstacle() -> Obstacle | None:
    """Why this torch can't trace a model; None where it can."""
    return None if hasattr(torch.jit, "trace") else _lacking("TorchScript")


def _lacking(part: str) -> Obstacle:
    return Obstacle(f"torch {_version()} has no {part}: use pt2e-int8", fixable=False)


def deprecation() -> str | None:
    """Torch's announcement that eager quantization will go, in short; None where it makes none."""
    if obstacle():
        return None
    from torch.ao import quantization

    announced = hasattr(quantization.convert, "__deprecated__")
    return f"deprecated in torch {_version()}, to be removed" if announced else None


@contextmanager
def short_warnings() -> Iterator[None]:
    """Replace torch's warnings at each call by a line for the whole process."""
    with warnings.catch_warnings():
        for announcement in _ANNOUNCEMENTS:
            warnings.filterwarnings("ignore", announcement)
        yield
    _warn_once()


@cache
def _warn_once() -> None:
    line = deprecation()
    if line:
        warnings.warn(
            f"eager quantization and TorchScript: {line}", DeprecationWarning, stacklevel=1
        )


def _version() -> str:
    return ".".join(torch.__version__.split(".")[:2])
