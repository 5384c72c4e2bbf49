"""Quantization of an exported graph (PT2E) for Inductor, packaged ahead of time.

torchao's quantizer for x86 marks what Inductor can lower to oneDNN's int8 kernels: convolution,
residual sum and ReLU become one. What the kernels compute between is not rounded.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from qmodels import engines, fake_quantize
from qmodels.fusion import fuse
from qmodels.resnet import Resnet34
from qmodels.runtimes import inductor
from qmodels.runtimes.inductor import PACKAGE, Exported
from qmodels.variants.registry import variant

ENGINE = "inductor"


@variant(
    "pt2e-int8",
    engine=ENGINE,
    summary="int8 by PT2E, compiled by Inductor",
    format=PACKAGE,
    arithmetic="int8",
    int8_share=1.0,
    calibrates=True,
    requires=("torchao",),
    extra="pt2e",
    here=inductor.no_compiler,
)
def pt2e_int8(model: Resnet34, calibration: Tensor | None) -> Exported:
    """Export, calibrate and convert; weights get seven bits where oneDNN saturates."""
    prepared = prepare(fuse(model), engines.weight_range(ENGINE))
    with torch.no_grad():
        prepared(calibration)
    return convert(prepared)


@variant(
    "pt2e-qat-int8",
    engine=ENGINE,
    summary="qat-int8's weights and ranges, by PT2E and Inductor",
    format=PACKAGE,
    arithmetic="int8",
    int8_share=1.0,
    quantization_aware=True,
    requires=("torchao",),
    extra="pt2e",
    here=inductor.no_compiler,
)
def pt2e_qat_int8(model: Resnet34, calibration: Tensor | None) -> Exported:
    """Put the trained ranges in the place of observed ones, and convert."""
    prepared = prepare(fake_quantize.to_float(model), fake_quantize.WEIGHT_RANGE)
    install(prepared, fake_quantize.ranges(model))
    return convert(prepared)


def prepare(fused: nn.Module, weight_range: tuple[int, int]) -> Any:
    """The exported graph of a fused float model, with observers."""
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    config = x86.get_default_x86_inductor_quantization_config(reduce_range=False)
    lowest, highest = weight_range
    weight = dataclasses.replace(config.weight, quant_min=lowest, quant_max=highest)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(dataclasses.replace(config, weight=weight))
    return prepare_pt2e(inductor.export(fused).many.module(), quantizer)


def install(prepared: Any, ranges: fake_quantize.Ranges) -> None:
    """Let every observer answer with a trained range."""
    last_sum = [name for name in ranges if name.endswith(".add")][-1]
    for node in prepared.graph.nodes:
        if node.op != "call_module" or not node.target.startswith("activation_post_process"):
            continue
        source = node.args[0]
        if source.op == "placeholder":
            name = "quant"
        elif source.op == "get_attr":
            name = fused_name(source.target.removesuffix(".weight")) + ".weight"
        else:
            module = list(source.meta["nn_module_stack"].values())[-1][0]
            # Average pooling and flattening keep the range of the last residual sum.
            name = last_sum if module.startswith("head.") else fused_name(module)
            name = name if name in ranges else f"{name}.add"
        answer = ranges[name]
        prepared.get_submodule(node.target).calculate_qparams = lambda answer=answer: answer


def fused_name(module: str) -> str:
    """The name of a fused module, of the name of it or of one of its parts: ``conv1.0``."""
    head, _, tail = module.rpartition(".")
    in_a_block = head.count(".") > 1 or not head.startswith("stages")
    return head if tail.isdigit() and in_a_block else module


def convert(prepared: Any) -> Exported:
    """The graph with integers and ranges in it, exported again for the compiler."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    return inductor.export(convert_pt2e(prepared))
