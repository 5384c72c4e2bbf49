"""What torch says of eager quantization and TorchScript: whether they are there, and will go.

``torch.ao.quantization`` is announced to be removed (pytorch/ao #2259), with the dtypes and kernels
of eager quantization. TorchScript is announced to be.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from qmodels.system.errors import Obstacle

# Of torch's warnings, at each call. The last two are about quantized tensors.
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
    except ImportError:
        reason = f"torch {_version()} has no eager quantization: use pt2e-int8"
        return Obstacle(reason, fixable=False)
    if not hasattr(torch.jit, "trace"):
        return Obstacle(f"torch {_version()} has no TorchScript: use pt2e-int8", fixable=False)
    return None


def deprecation() -> str | None:
    """Torch's announcement that eager quantization will go, in short; None where it makes none."""
    if obstacle():
        return None
    from torch.ao import quantization

    announced = hasattr(quantization.convert, "__deprecated__")
    return f"deprecated in torch {_version()}, to be removed" if announced else None


@contextmanager
def one_warning() -> Iterator[None]:
    """Have torch announce in one line what it announces in many, at each call."""
    with warnings.catch_warnings():
        for announcement in _ANNOUNCEMENTS:
            warnings.filterwarnings("ignore", announcement)
        yield
    line = deprecation()
    if line:
        warnings.warn(f"eager quantization and TorchScript: {line}", DeprecationWarning, 2)


def _version() -> str:
    return ".".join(torch.__version__.split(".")[:2])
