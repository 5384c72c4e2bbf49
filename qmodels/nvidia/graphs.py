"""NVIDIA GPUs: whether one can be used here, and forwards captured as CUDA graphs.

A forward of one image is a hundred kernels of microseconds each: launched one by one, the time
is that of launching. So each batch size that comes is captured once and then replayed.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor

from qmodels.backends.base import ForwardFn
from qmodels.system import machine
from qmodels.system.errors import Obstacle

DEVICE = torch.device("cuda")
# Below it there is neither bfloat16 nor what Triton needs to multiply int8.
_LEAST_CAPABILITY = (8, 0)
# Captured batch sizes that are kept; each has memory of its own.
MOST_GRAPHS = 8
_WARM_UP_FORWARDS = 3


def no_gpu() -> Obstacle | None:
    """Why nothing runs on a GPU here; None where it does."""
    # A torch without CUDA sees no GPU; this program comes with the GPU's driver.
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        return Obstacle("this torch is built without CUDA: install one with it", fixable=True)
    if torch.version.cuda is None or machine.gpu_class() is None:
        return Obstacle("no NVIDIA GPU: run it on a machine with one", fixable=False)
    if torch.cuda.get_device_capability() < _LEAST_CAPABILITY:
        least = ".".join(map(str, _LEAST_CAPABILITY))
        return Obstacle(
            f"{machine.gpu_class()} is too old: run it on compute capability {least} or higher",
            fixable=False,
        )
    return None


def no_compiler() -> Obstacle | None:
    """Why Triton, and with it ``torch.compile``, can't launch kernels here; None where it can."""
    if no_gpu() is None and not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return Obstacle("no C compiler: apt-get install gcc", fixable=True)
    return no_gpu()


@dataclass(frozen=True)
class Graph:
    """A captured forward: it reads ``images`` and writes ``logits``, where they are.

    Attributes:
        forward: what was captured. Its memory, weights and scratch, is read by every replay.
    """

    graph: torch.cuda.CUDAGraph
    images: Tensor
    logits: Tensor
    forward: ForwardFn

    def replay(self, images: Tensor) -> Tensor:
        """Logits of other images of the same shape, on their device, in memory of their own."""
        self.images.copy_(images)
        self.graph.replay()
        return self.logits.clone() if images.is_cuda else self.logits.cpu()


@cache
def side_stream() -> torch.cuda.Stream:
    """The stream that captures, always the same one: cuBLAS keeps memory for each that it sees."""
    return torch.cuda.Stream()


def capture(forward: ForwardFn, shape: tuple[int, ...]) -> Graph:
    """Capture a forward of images of a shape, float32.

    Args:
        forward: from a tensor on the GPU to one there; it compiles and tunes before the capture.
    """
    images = torch.zeros(shape, device=DEVICE)
    aside = side_stream()
    aside.wait_stream(torch.cuda.current_stream())
    # float32 means float32: by default convolutions round their inputs to TF32.
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_FORWARDS):
                forward(images)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            logits = forward(images)
    return Graph(graph, images, logits, forward)


def as_graphs(
    forwards: Callable[[], ForwardFn],
    captured: Callable[[ForwardFn, tuple[int, ...]], Graph] = capture,
) -> ForwardFn:
    """A model that replays a graph for each shape of images, float32, on the CPU or the GPU.

    Args:
        forwards: gives what is captured for a shape, from a tensor on the GPU to one there.
    """

    @lru_cache(maxsize=MOST_GRAPHS)
    def graph(shape: tuple[int, ...]) -> Graph:
        return captured(forwards(), shape)

    def run(images: Tensor) -> Tensor:
        # In inference mode always: tensors made in it can't be written to outside of it.
        with torch.inference_mode():
            return graph(tuple(images.shape)).replay(images)

    return run
