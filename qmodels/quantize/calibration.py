"""Scales of activations, observed on calibration images, for runtimes that are told all of them.

Observed are the tensors that such runtimes write to memory: the images, and the output of each
convolution after its ReLU. The second convolution of a block is left out, because the shortcut is
added before rounding. So a residual block rounds once, and torch's static quantization twice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qmodels.network import eager_quantization
from qmodels.network.resnet import BasicBlock, PreactBlock, Resnet34
from qmodels.system.errors import Unavailable

IMAGE, STEM = "quant", "stem"


@dataclass(frozen=True)
class Scale:
    """How int8 stands for real numbers: ``(integer - zero_point) * scale``."""

    scale: float
    zero_point: int


def post_activation(network: nn.Module) -> Resnet34:
    """The network, if it is a ResNet of post-activation blocks.

    Raises:
        Unavailable: it is another one. Pre-activation sums are normalized after they are added.
    """
    blocks = [block for block in network.modules() if isinstance(block, BasicBlock | PreactBlock)]
    if not isinstance(network, Resnet34) or not all(isinstance(b, BasicBlock) for b in blocks):
        raise Unavailable("pre-activation blocks have no int8 kernels here: choose resnet34")
    return network


def named_blocks(network: Resnet34) -> dict[str, BasicBlock]:
    """The residual blocks of a post-activation network in their order, by name."""
    return {name: block for name, block in network.named_modules() if isinstance(block, BasicBlock)}


def observed_modules(network: Resnet34) -> dict[str, nn.Module]:
    """The modules of a fused network whose outputs are rounded, by name."""
    modules: dict[str, nn.Module] = {IMAGE: network.quant, STEM: network.stem}
    for name, block in named_blocks(network).items():
        modules[f"{name}.conv1"] = block.conv1
        if not isinstance(block.shortcut, nn.Identity):
            modules[f"{name}.shortcut"] = block.shortcut
        modules[name] = block
    return modules


def scales(network: Resnet34, images: Tensor, *, symmetric: bool) -> dict[str, Scale]:
    """Scales of int8 for all that is observed, by ranges from histograms.

    Args:
        network: fused, in eval mode.
        images: (N, 3, 32, 32) float32, normalized, on the network's device.
        symmetric: zero points are 0. Of what leaves a ReLU that wastes half of the integers.
    """
    kind = torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine
    observers = {
        name: eager_quantization.HistogramObserver(
            dtype=torch.qint8, qscheme=kind, reduce_range=False
        )
        for name in observed_modules(network)
    }

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, inputs, output: observers[name](output))

    handles = [watch(name, module) for name, module in observed_modules(network).items()]
    try:
        with torch.inference_mode():
            network(images)  # in one batch: merging two histograms costs more than making one
    finally:
        for handle in handles:
            handle.remove()
    qparams = {name: observer.calculate_qparams() for name, observer in observers.items()}
    return {name: Scale(float(scale), int(zero)) for name, (scale, zero) in qparams.items()}
