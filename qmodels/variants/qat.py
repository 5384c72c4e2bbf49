"""Quantization-aware training, converted: what was trained to be rounded is rounded."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qmodels.backends.torch_engine import TorchBackend, quantized_engine
from qmodels.quantize import fake_quantize
from qmodels.variants import static
from qmodels.variants.registry import variant
from qmodels.variants.static import KERNELS, SCRIPT


@variant(
    backend=SCRIPT,
    summary="fine-tuned with fake-quantization, converted, frozen as TorchScript",
    arithmetic="int8",
    int8_share=1.0,
    quantization_aware=True,
    kernels=KERNELS,
)
def qat_int8(model: nn.Module, example: Tensor) -> "torch.jit.ScriptModule":
    """Convert the network of rounded weights with the trained ranges, then trace it."""
    return static.freeze(with_ranges(model, SCRIPT), example, SCRIPT)


def with_ranges(model: nn.Module, backend: TorchBackend) -> nn.Module:
    """The int8 model that a fake-quantized ``Resnet34`` in eval mode stands for."""
    ranges = fake_quantize.ranges(model)
    prepared = static.prepare(fake_quantize.to_float(model), backend)
    untrained = static.qconfig(backend)

    def trained_weight(name: str) -> Any:
        observer = untrained.weight()
        observer.calculate_qparams = partial(ranges.__getitem__, name)
        return observer

    for node in prepared.graph.nodes:
        if node.op != "call_module":
            continue
        name = fake_quantize.range_name(node, ranges)
        parts: list[Any] = list(prepared.get_submodule(str(node.target)).modules())
        for part in parts:
            if hasattr(part, "activation_post_process"):
                part.activation_post_process.calculate_qparams = partial(ranges.__getitem__, name)
            if f"{name}.weight" in ranges:
                weight = partial(trained_weight, f"{name}.weight")
                part.qconfig = untrained._replace(weight=weight)
    with quantized_engine(backend.engine):
        return static.convert(prepared)
