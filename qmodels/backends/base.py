"""The contract of a backend: one object that knows all of one runtime."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.network.layers import Layer
from qmodels.system import machine
from qmodels.system.errors import Obstacle

# Forwards before those that are profiled: runtimes set up, and just-in-time compilers replace code.
UNTIMED = 5

# Images (N, C, H, W) float32 to logits (N, classes) float32.
ForwardFn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Kernel:
    """A convolution or linear layer that ran.

    Attributes:
        layer: as its runtime names it.
        implementation: the operator or kernel.
    """

    layer: str
    implementation: str
    macs: int
    int8: bool


@dataclass(frozen=True)
class Step:
    """Something that ran in a forward, as the runtime's own profiler saw it.

    Attributes:
        layer: the convolution or linear layer that it multiplied; None if it is no layer.
        operation: the operator or kernel.
        start: seconds since the forward began.
    """

    layer: str | None
    operation: str
    start: float
    seconds: float


@dataclass(frozen=True)
class ProfiledForward:
    """A forward under a profiler: seconds of all of it, and what ran in it, in that order."""

    seconds: float
    steps: tuple[Step, ...]


def time_forward(forward: Callable[[], object]) -> float:
    """Seconds of one forward."""
    started = time.perf_counter()
    forward()
    return time.perf_counter() - started


class Stored(Protocol):
    """The part of an artifact that a backend loads: a folder, and the modules that weights fill."""

    @property
    def folder(self) -> Path:
        """The folder that ``Backend.save`` wrote."""

    def modules(self) -> nn.Module:
        """Modules of the right structure in eval mode, with other weights."""


class Backend(ABC):
    """One runtime: how it stores, loads and runs models, and how that is checked.

    Attributes:
        name: of the runtime, in messages.
        engine: the kernel library that executes, as run records name it.
        extra: the extra that installs ``requires``, of qmodels or of the backend's package.
        isolated: whether building and probing happen in a process of their own. A runtime that
            is not torch's may set global state, or crash.
        torch_allocates: whether its memory comes from torch's allocator, which the profiler sees.
        machine_code: whether artifacts hold code for this very processor, with all of its
            instructions, and for the number of threads.
        portable: whether artifacts are the same on every machine class, but for numbers in them.
        service: the module that serves an artifact in a process without torch. It has a function
            ``loader(variant, folder, threads)``, which starts the runtime and returns what loads
            the artifact, as a function from images to logits, both float32 of numpy. None where
            the runtime is torch's.
    """

    name: ClassVar[str]
    processor: ClassVar[Literal["cpu", "gpu"]] = "cpu"
    requires: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None
    isolated: ClassVar[bool] = True
    torch_allocates: ClassVar[bool] = True
    machine_code: ClassVar[bool] = False
    portable: ClassVar[bool] = True
    service: ClassVar[str | None] = None

    @property
    def engine(self) -> str:
        """The kernel library that executes."""
        return self.name

    def obstacle(self) -> Obstacle | None:
        """Why this machine can't run the backend, installed packages aside; None where it can."""
        return None

    def deprecation(self) -> str | None:
        """Why its runtime will lose the backend, in short; None where it stays."""
        return None

    @abstractmethod
    def save(self, model: Any, folder: Path) -> None:
        """Write what a variant's function returned into an empty folder."""

    @abstractmethod
    def load(self, artifact: Stored) -> ForwardFn:
        """Read what ``save`` wrote."""

    @abstractmethod
    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        """The convolutions and linear layers that ran in a forward.

        Args:
            forward: the loaded artifact.
            images: (N, C, H, W) float32.
        """

    @abstractmethod
    def reference(self, model: Any) -> ForwardFn:
        """The result of a variant's function, as a model in reference arithmetic.

        The same integers and scales, multiplied in floating point. The difference to it is the
        runtime's own error, such as saturation.
        """

    @abstractmethod
    def saturates(self) -> bool | None:
        """Whether int8 convolutions give wrong sums at full range here; None without int8."""

    def weight_range(self) -> tuple[int, int]:
        """The lowest and highest int8 weight that can be multiplied without overflow.

        Seven bits instead of eight where the backend saturates, so that no pair of products does:
        2 * 255 * 64 fits into int16. torch's way, seven bits for activations, costs twice the
        noise power.
        """
        return (-64, 63) if self.saturates() else (-128, 127)

    def machine_class(self) -> str:
        """The class of the GPU or of the processor: artifacts and results depend on it."""
        if self.processor == "gpu":
            return machine.gpu_class() or "a machine without an NVIDIA GPU"
        return machine.machine_class()

    def kernel_library(self, machine_class: str) -> str:
        """The kernel library of a machine class. The same name means the same counts and memory."""
        return self.engine if self.portable else f"{self.engine} of {machine_class}"

    def kernel_library_here(self) -> str:
        """The kernel library of this machine, from which variables may hide instructions."""
        return self.kernel_library(self.machine_class())

    def layer_noise(
        self,
        artifact: Stored,
        model: nn.Module,
        images: Tensor,
        quantize: Callable[[], Any] | None = None,
    ) -> list[LayerSqnr] | None:
        """Noise of each convolution and linear layer.

        Args:
            model: the float network, in eval mode.
            images: (N, C, H, W) float32, normalized.
            quantize: makes what was saved once more, for backends whose files show no layers.

        Returns:
            None where the runtime does not show its layers.
        """
        return None

    def profile(
        self, artifact: Stored, layers: Sequence[Layer], images: Tensor, forwards: int
    ) -> list[ProfiledForward] | None:
        """Run forwards under the runtime's own profiler, after some that are not profiled.

        Args:
            layers: of the float network, in the order that it runs them.
            images: (N, C, H, W) float32.
            forwards: how many to profile.

        Returns:
            A value for each forward, or their mean in a single one, whichever the profiler
            gives. None where the runtime has no profiler.
        """
        return None
