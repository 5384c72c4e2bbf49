"""Quantization of an exported graph (PT2E) for Inductor, packaged ahead of time.

torchao's quantizer for x86 marks what Inductor can lower to oneDNN's int8 kernels: convolution,
residual sum and ReLU become one. What the kernels compute between is not rounded.
"""

import dataclasses
import logging
from collections import Counter
from itertools import chain
from typing import Any

from torch import Tensor, nn

from qmodels.backends import inductor
from qmodels.backends.inductor import Exported
from qmodels.network.fusion import fuse
from qmodels.quantize import fake_quantize, histograms
from qmodels.system.errors import Unavailable, first_line
from qmodels.variants.registry import variant


@variant(
    backend=inductor.BACKEND,
    summary="int8 by PT2E, compiled by Inductor",
    arithmetic="int8",
    int8_share=1.0,
    requires=("torchao",),
    extra="pt2e",
)
def pt2e_int8(model: nn.Module, calibration: Tensor) -> Exported:
    """Export, calibrate and convert; weights get seven bits where oneDNN saturates."""
    prepared = _prepare(fuse(model), calibration, inductor.BACKEND.weight_range())
    histograms.observe(prepared, histograms.observers_of(prepared), calibration)
    return _convert(prepared, calibration)


@variant(
    backend=inductor.BACKEND,
    summary="qat-int8's weights and ranges, by PT2E and Inductor",
    arithmetic="int8",
    int8_share=1.0,
    quantization_aware=True,
    requires=("torchao",),
    extra="pt2e",
)
def pt2e_qat_int8(model: nn.Module, example: Tensor) -> Exported:
    """Put the trained ranges in the place of observed ones, and convert."""
    prepared = _prepare(fake_quantize.to_float(model), example, fake_quantize.WEIGHT_RANGE)
    _install(fake_quantize.ranges(model), prepared)
    return _convert(prepared, example)


def _prepare(fused: nn.Module, images: Tensor, weight_range: tuple[int, int]) -> Any:
    """The exported graph of a fused float model, with observers."""
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # of torchao's own calls
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    config = x86.get_default_x86_inductor_quantization_config(reduce_range=False)
    lowest, highest = weight_range
    weight = dataclasses.replace(config.weight, quant_min=lowest, quant_max=highest)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(dataclasses.replace(config, weight=weight))
    # Means in int8 are no faster, and round once more: a decibel on CIFAR-100 at width 16.
    quantizer.set_module_type_qconfig(nn.AdaptiveAvgPool2d, None)
    for name, part in fused.named_modules():
        # The strides of one channel fit two layouts. Inductor assumes one and oneDNN the other, so
        # that what an int8 kernel gives is read in a wrong order (torch 2.15).
        if isinstance(part, nn.Conv2d) and part.in_channels == 1:
            quantizer.set_module_name_qconfig(name, None)
    exported = inductor.export(fused, images).many.module()
    _tell_calls_apart(exported, fused)
    try:
        return prepare_pt2e(exported, quantizer)
    except ValueError as error:  # it can't place an observer, as where a module is called twice
        raise Unavailable(
            f"torchao's quantizer does not take this network ({first_line(error)}): leave out its "
            "variants"
        ) from None


def _tell_calls_apart(exported: Any, fused: nn.Module) -> None:
    """Number the calls of a module without weights that is called several times, as a ReLU.

    torchao's quantizer takes what has one name for one call, and refuses what it finds
    (torch 2.15). The names are those that strict export gives: ``relu``, ``relu@1``.
    """
    weightless = {
        name
        for name, part in fused.named_modules()
        if not any(True for _ in chain(part.children(), part.parameters()))
    }
    calls: Counter[str] = Counter()
    for node in exported.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if node.op != "call_function" or not stack:
            continue
        key, (name, kind) = list(stack.items())[-1]
        if name in weightless:
            if calls[name]:
                node.meta["nn_module_stack"] = {**stack, key: (f"{name}@{calls[name]}", kind)}
            calls[name] += 1


def _install(ranges: fake_quantize.Ranges, prepared: Any) -> None:
    """Put ranges in the place of what the observers of a prepared graph would give."""
    for node in prepared.graph.nodes:
        if node.op == "call_module" and node.target.startswith("activation_post_process"):
            answer = ranges[fake_quantize.range_name(node.args[0], ranges)]
            observer = prepared.get_submodule(node.target)
            observer.calculate_qparams = lambda answer=answer: answer


def _convert(prepared: Any, images: Tensor) -> Exported:
    """The graph with integers and ranges in it, exported again for the compiler."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    return inductor.export(convert_pt2e(prepared), images)
