"""torch on an NVIDIA GPU: float networks compiled, int8 ones by Triton, both as CUDA graphs.

A forward of one image is a hundred kernels of microseconds each: launched one by one, the time
is that of launching. So each batch size that comes is captured once and then replayed. On disk
are the weights as they run, in their precision.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from qmodels import integer_network, machine
from qmodels.fusion import fuse
from qmodels.integer import Arithmetic, Convolution
from qmodels.obstacles import Obstacle
from qmodels.runtimes import eager
from qmodels.runtimes.dispatch import Kernel, Runnable, kernels
from qmodels.runtimes.format import Format, Restructure

DEVICE = torch.device("cuda")
# Below it there is neither bfloat16 nor what Triton needs to multiply int8.
LEAST_CAPABILITY = (8, 0)
# Captured batch sizes that are kept; each has memory of its own.
MOST_GRAPHS = 8
WARM_UP_FORWARDS = 3


def missing() -> Obstacle | None:
    """Why nothing runs on a GPU here; None where it does."""
    # A torch without CUDA sees no GPU; this program comes with the GPU's driver.
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        return Obstacle("this torch is built without CUDA: install one with it", mendable=True)
    if torch.version.cuda is None or machine.gpu_class() is None:
        return Obstacle("no NVIDIA GPU: run it on a machine with one", mendable=False)
    if torch.cuda.get_device_capability() < LEAST_CAPABILITY:
        least = ".".join(map(str, LEAST_CAPABILITY))
        return Obstacle(
            f"{machine.gpu_class()} is too old: run it on compute capability {least} or higher",
            mendable=False,
        )
    return None


def no_compiler() -> Obstacle | None:
    """Why Triton, and with it ``torch.compile``, can't launch kernels here; None where it can."""
    if missing() is None and not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return Obstacle("no C compiler: apt-get install gcc", mendable=True)
    return missing()


class InPrecision(nn.Module):
    """A network in a precision, channels last, between images and logits of float32."""

    def __init__(self, network: nn.Module, precision: torch.dtype) -> None:
        super().__init__()
        self.precision = precision
        self.network = network.to(precision).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) float32 of images (N, 3, 32, 32) float32."""
        x = images.to(self.precision, memory_format=torch.channels_last)
        logits: Tensor = self.network(x).float()
        return logits


@cache
def compiled(
    precision: torch.dtype, shape: tuple[int, ...]
) -> Callable[[nn.Module, Tensor], Tensor]:
    """A compiled forward, of a network in a precision and images of one shape.

    Dynamo keeps what it compiled with a function's code, and runs what comes after the first few
    (``recompile_limit``) without compiling it. So each shape has code of its own, and what
    exceeds the limit all the same, as many networks of other widths would, fails: ``fullgraph``.
    """

    def forward(network: nn.Module, images: Tensor) -> Tensor:
        logits: Tensor = network(images)
        return logits

    forward.__code__ = forward.__code__.replace()
    return torch.compile(forward, dynamic=False, fullgraph=True)


@dataclass(frozen=True)
class Graph:
    """A captured forward: it reads ``images`` and writes ``logits``, where they are.

    Attributes:
        forward: what was captured. Its memory, weights and scratch, is read by every replay.
    """

    graph: torch.cuda.CUDAGraph
    images: Tensor
    logits: Tensor
    forward: Runnable

    def replay(self, images: Tensor) -> Tensor:
        """Logits of other images of the same shape, on their device, in memory of their own."""
        self.images.copy_(images)
        self.graph.replay()
        return self.logits.clone() if images.is_cuda else self.logits.cpu()


@cache
def side_stream() -> torch.cuda.Stream:
    """The stream that captures, always the same one: cuBLAS keeps memory for each that it sees."""
    return torch.cuda.Stream()


def capture(forward: Runnable, shape: tuple[int, ...]) -> Graph:
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
            for _ in range(WARM_UP_FORWARDS):
                forward(images)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            logits = forward(images)
    return Graph(graph, images, logits, forward)


def as_graphs(
    forwards: Callable[[], Runnable],
    captured: Callable[[Runnable, tuple[int, ...]], Graph] = capture,
) -> Runnable:
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


def load_float(folder: Path, restructure: Restructure) -> Runnable:
    """Read the weights and compile for the GPU when the first images come."""
    network = eager.load_weights(folder, restructure)
    assert isinstance(network, InPrecision)
    network.to(DEVICE)

    def forward(images: Tensor) -> Tensor:
        return compiled(network.precision, tuple(images.shape))(network, images)

    return as_graphs(lambda: forward)


def float_kernels(forward: Runnable, folder: Path, images: Tensor) -> list[Kernel]:
    """Convolutions and linear layers as torch calls them: what is compiled shows none."""
    with safe_open(folder / eager.WEIGHTS_FILE, framework="pt") as file:
        precision = file.get_tensor("network.head.fc.weight").dtype
    network = eager.load_weights(folder, lambda model: InPrecision(fuse(model), precision))
    assert isinstance(network, nn.Module)
    return kernels(network.to(DEVICE), images.to(DEVICE))


def load_int8(folder: Path, restructure: Restructure) -> Runnable:
    """Read the integers, for the Triton kernels."""
    from qmodels.runtimes import triton_int8

    network = restored(folder).to(DEVICE)
    network.arithmetic = triton_int8.TRITON
    return as_graphs(lambda: network)


def int8_kernels(forward: Runnable, folder: Path, images: Tensor) -> list[Kernel]:
    """The kernels that a forward launches, run once more without a graph."""
    from qmodels.runtimes import triton_int8

    return launched(restored(folder).to(DEVICE), triton_int8.TRITON, images.to(DEVICE))


def launched(
    network: integer_network.IntegerResnet, arithmetic: Arithmetic, images: Tensor
) -> list[Kernel]:
    """Convolutions that a forward asks an arithmetic for, and the linear layer after them."""
    names = {module: name for name, module in network.named_modules()}
    found: list[Kernel] = []

    def convolve(x: Tensor, layer: Convolution, residual: Tensor | None) -> Tensor:
        y = arithmetic.convolve(x, layer, residual)
        macs = y.numel() * layer.weight[0].numel()
        found.append(Kernel(names[layer], arithmetic.convolve.__module__, macs, int8=True))
        return y

    network.arithmetic = Arithmetic(arithmetic.quantize, convolve)
    with torch.inference_mode():
        logits = network(images)
    macs = logits.numel() * network.head.in_features
    return [*found, Kernel("head", "aten::linear", macs, int8=False)]


def restored(folder: Path) -> integer_network.IntegerResnet:
    """A stored network of integers, on the CPU, computing exactly."""
    network = eager.load_weights(folder, lambda model: integer_network.quantized(fuse(model), None))
    assert isinstance(network, integer_network.IntegerResnet)
    return network


def exact(network: integer_network.IntegerResnet) -> Runnable:
    """A network of integers in reference arithmetic, which is its own on the CPU."""
    return network


CUDA_FLOAT = Format(eager.save_weights, load_float, float_kernels)
CUDA_INT8 = Format(eager.save_weights, load_int8, int8_kernels, exact)
