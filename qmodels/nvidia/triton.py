"""Triton on an NVIDIA GPU: networks of integers by fused kernels, replayed as CUDA graphs."""

from pathlib import Path

import torch
from torch import Tensor

from qmodels.backends import eager
from qmodels.backends.base import Backend, ForwardFn, Kernel, Stored
from qmodels.nvidia import graphs
from qmodels.nvidia.graphs import DEVICE
from qmodels.nvidia.integer import Convolution, IntegerArithmetic
from qmodels.nvidia.integer_network import IntegerNetwork
from qmodels.system.errors import Obstacle


class _Triton(Backend):
    name = "triton"
    processor = "gpu"
    requires = ("triton",)
    extra = "cuda"
    isolated = False

    def obstacle(self) -> Obstacle | None:
        return graphs.no_compiler()

    def save(self, model: IntegerNetwork, folder: Path) -> None:
        eager.save_state(model, folder)

    def load(self, artifact: Stored) -> ForwardFn:
        from qmodels.nvidia import triton_int8

        network = restore(artifact).to(DEVICE)
        network.arithmetic = triton_int8.TRITON
        return graphs.as_graphs(lambda: network)

    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        """The kernels that a forward launches, run once more without a graph."""
        from qmodels.nvidia import triton_int8

        return list_launches(restore(artifact).to(DEVICE), triton_int8.TRITON, images.to(DEVICE))

    def reference(self, model: IntegerNetwork) -> ForwardFn:
        """The network itself, which computes exactly on the CPU."""
        return model

    def saturates(self) -> bool | None:
        return False


BACKEND = _Triton()


def restore(artifact: Stored) -> IntegerNetwork:
    """A stored network of integers, on the CPU, computing exactly."""
    network = eager.load_modules(artifact)
    assert isinstance(network, IntegerNetwork)
    return network


def list_launches(
    network: IntegerNetwork, arithmetic: IntegerArithmetic, images: Tensor
) -> list[Kernel]:
    """Convolutions that a forward asks an arithmetic for, and the linear layer after them."""
    names = {module: name for name, module in network.named_modules()}
    kernels: list[Kernel] = []

    def convolve(x: Tensor, layer: Convolution, residual: Tensor | None) -> Tensor:
        y = arithmetic.convolve(x, layer, residual)
        macs = y.numel() * layer.weight[0].numel()
        kernels.append(Kernel(names[layer], arithmetic.convolve.__module__, macs, int8=True))
        return y

    network.arithmetic = IntegerArithmetic(arithmetic.quantize, convolve)
    with torch.inference_mode():
        logits = network(images)
    macs = logits.numel() * network.head.in_features
    return [*kernels, Kernel("head", "aten::linear", macs, int8=False)]
