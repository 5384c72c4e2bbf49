"""Scales of activations, observed on calibration images, for runtimes that are told all of them.

Observed are the tensors that such runtimes write to memory: the images, and the output of each
convolution after its ReLU. The second convolution of a block is left out, because the shortcut is
added before rounding. So a residual block rounds once, and torch's static quantization twice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qmodels.nvidia.residual import ResidualNetwork
from qmodels.quantize import histograms

IMAGE, STEM = "quant", "stem"


@dataclass(frozen=True)
class Scale:
    """An int8 representation of real numbers: ``(integer - zero_point) * scale``."""

    scale: float
    zero_point: int


def observed_modules(network: ResidualNetwork) -> dict[str, nn.Module]:
    """The modules whose outputs are rounded, by name; that of the images is the identity."""
    modules: dict[str, nn.Module] = {IMAGE: nn.Identity(), STEM: network.stem}
    for block in network.blocks:
        modules[f"{block.name}.conv1"] = block.first
        if block.shortcut is not None:
            modules[f"{block.name}.shortcut"] = block.shortcut
        modules[block.name] = block.module
    return modules


def scales(network: ResidualNetwork, images: Tensor, *, symmetric: bool) -> dict[str, Scale]:
    """Scales of int8 for all that is observed, by ranges from histograms.

    Args:
        network: in eval mode.
        images: (N, 3, 32, 32) float32, normalized, on the network's device.
        symmetric: zero points are 0. Of what leaves a ReLU that wastes half of the integers.
    """
    modules = observed_modules(network)
    observers = {
        name: histograms.HistogramObserver(quant_min=-128, symmetric=symmetric) for name in modules
    }

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, inputs, output: observers[name](output))

    handles = [watch(name, module) for name, module in modules.items()]
    try:
        histograms.observe(
            lambda batch: network.module(modules[IMAGE](batch)), observers.values(), images
        )
    finally:
        for handle in handles:
            handle.remove()
    return {name: Scale(*observer.qparams()) for name, observer in observers.items()}
