"""Layer by layer: what quantization cost, and what the runtime added to it.

A layer's output is held against that of the float network (quantization), and against that of the
same quantized network in reference arithmetic (runtime). Both are cumulative: what the layers
before lost is in it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qmodels.errors import UserError
from qmodels.evaluation import sqnr_db
from qmodels.fusion import fuse
from qmodels.resnet import BasicBlock, Resnet34
from qmodels.runtimes import dispatch, onnx_graph, onnxruntime, onnxruntime_session
from qmodels.runtimes.eager import SCRIPT, WEIGHTS
from qmodels.runtimes.onnxruntime import ONNX
from qmodels.variants import Artifact

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class LayerNoise:
    """SQNR of one layer's output, in decibels: of quantization, and of the runtime."""

    layer: str
    quantization_db: float
    runtime_db: float


def noise(artifact: Artifact, model: Resnet34, images: Tensor) -> list[LayerNoise]:
    """Every convolution and linear layer of a variant, in the order that they ran.

    Args:
        model: the float network, in eval mode.
        images: (N, 3, 32, 32) float32, normalized.

    Raises:
        UserError: the variant's runtime does not show its layers, or nothing of it is int8.
    """
    variant = artifact.variant
    if variant.int8_share == 0 or variant.format not in (WEIGHTS, SCRIPT, ONNX):
        raise UserError(
            f"{variant.name} shows no quantized layers: choose one of TorchScript or ONNX, as "
            "static-int8-jit or onnx-int8"
        )
    if variant.format == ONNX:
        return of_graph(artifact.folder / onnxruntime_session.FILE, model, images)
    return of_operators(artifact.load(), model, images)


def of_operators(forward: dispatch.Runnable, model: Resnet34, images: Tensor) -> list[LayerNoise]:
    """Of what torch dispatches. Layers are recognized by their weights."""
    fused = fuse(model)
    known = {
        name.removesuffix(".0"): module.weight.detach()
        for name, module in fused.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    outputs = float_outputs(fused, images)
    found = []
    for runtime, exact in zip(
        dispatch.products(forward, images),
        dispatch.products(forward, images, exactly=True),
        strict=True,
    ):
        layer = nearest(runtime.weight, known)
        # What is added to within the kernel comes out as the block's output.
        block = layer.removesuffix(".conv2")
        expected = outputs[block if "_add" in runtime.operator else layer]
        found.append(
            LayerNoise(
                layer,
                sqnr_db(exact.output, expected),
                sqnr_db(runtime.output, exact.output),
            )
        )
    return found


def float_outputs(fused: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Outputs of all fused layers and residual blocks of a float network, by name."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(name, output.clone())

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in fused.named_modules()
        if isinstance(module, BasicBlock | nn.Conv2d | nn.Linear | nn.Sequential)
    ]
    with torch.inference_mode():
        fused(images)
    for handle in handles:
        handle.remove()
    return outputs


def nearest(weight: Tensor, known: dict[str, Tensor]) -> str:
    """The layer whose weight one of the same shape comes from."""
    alike = {name: one for name, one in known.items() if one.shape == weight.shape}
    return min(alike, key=lambda name: float((alike[name] - weight).pow(2).sum()))


def of_graph(path: Path, model: Resnet34, images: Tensor) -> list[LayerNoise]:
    """Of an ONNX graph, whose activations have the names of the float graph's."""
    import onnx

    quantized = onnx.load(path)
    names = {node.output[0] for node in quantized.graph.node if node.op_type == "DequantizeLinear"}
    before = onnx_graph.export(fuse(model))
    activations = {
        node.output[0]: node.name
        for node in before.graph.node
        if f"{node.output[0]}_DequantizeLinear_Output" in names
    }
    wanted = [f"{name}_DequantizeLinear_Output" for name in activations]
    unoptimized = onnxruntime.unoptimized()
    of_float = collected(before, list(activations), images)
    of_reference = collected(quantized, wanted, images, **unoptimized)
    of_runtime = collected(quantized, wanted, images)
    return [
        LayerNoise(layer, sqnr_db(exact, expected), sqnr_db(runtime, exact))
        for layer, expected, exact, runtime in zip(
            activations.values(), of_float, of_reference, of_runtime, strict=True
        )
    ]


def collected(
    graph: "ModelProto", names: list[str], images: Tensor, **options: Any
) -> list[Tensor]:
    """What a graph computes under some names."""
    import onnx

    showing = onnx.ModelProto()
    showing.CopyFrom(graph)
    shown = {one.name for one in showing.graph.output}
    showing.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if name not in shown
    )
    opened = onnxruntime.session(showing.SerializeToString(), **options)
    return [torch.from_numpy(one) for one in opened.run(names, {onnx_graph.INPUT: images.numpy()})]
