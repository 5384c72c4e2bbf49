"""What a runtime has to know of its artifacts, and the kernels that it reports."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from qmodels import resnet
from qmodels.runtimes import dispatch
from qmodels.runtimes.dispatch import Kernel, Runnable

# Turns a float network into a variant's modules, to be filled from a file.
Restructure = Callable[[resnet.Resnet34], Any]


@dataclass(frozen=True)
class Structure:
    """What rebuilds a network's modules before its weights are read."""

    architecture: str
    width: int
    classes: int


def dispatched(forward: Runnable, folder: Path, images: Tensor) -> list[Kernel]:
    """The kernels of what torch dispatches operator by operator."""
    return dispatch.kernels(forward, images)


@dataclass(frozen=True)
class Format:
    """How a variant's result goes to disk and comes back, and what can be asked of it.

    Attributes:
        save: write what a variant's ``quantize`` made into a folder.
        load: read it, given the step that turns a float network into the variant's modules.
        kernels: the convolutions and linear layers that a forward of images (N, 3, 32, 32) ran,
            of what was loaded from a folder.
        reference: what ``quantize`` made, in reference arithmetic: the same integers and scales,
            multiplied in floating point. Against it a runtime's own errors show, as saturation.
        torch_allocates: whether its memory comes from torch's allocator, which the profiler sees.
        machine_code: whether the files hold code for this very processor, with all of its
            instructions.
        served_by: the module that serves it in a process that has no more than it would where it
            is deployed: its ``loader``, of a variant's name, the folder and how many threads,
            starts the runtime and returns what loads the artifact, as a function from images
            (N, 3, 32, 32) to logits (N, classes), float32 of numpy.
    """

    save: Callable[[Any, Structure, Path], None]
    load: Callable[[Path, Restructure], Runnable]
    kernels: Callable[[Runnable, Path, Tensor], list[Kernel]] = dispatched
    reference: Callable[[Any], Runnable] = dispatch.reference
    torch_allocates: bool = True
    machine_code: bool = False
    served_by: str = "qmodels.measure.torch_service"
