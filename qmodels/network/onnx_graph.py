"""Networks as ONNX graphs, whose nodes have the names of the layers that they came from."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from qmodels.network.layers import Layer, owner

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT = "images", "logits"
_MULTIPLYING = ("Conv", "Gemm", "MatMul")
_FUSED = ("Add", "Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid")


def export(model: nn.Module, example: Tensor) -> "ModelProto":
    """A network in eval mode as a graph of images (N, C, H, W) float32 to logits (N, classes).

    Traces of where it was exported (paths, source lines) are left out.

    Args:
        example: at least two images, for their shape.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            model,
            (example[:2],),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: Dim("batch", min=1)},),
        )
    graph: ModelProto = program.model_proto
    names: Counter[str] = Counter()
    for node in graph.graph.node:
        scopes = {prop.key: prop.value for prop in node.metadata_props}
        layer = _layer_of(scopes.get("namespace", "")) or "model"
        base = f"{layer}.{node.op_type}"
        names[base] += 1
        # A layer that makes several nodes of a kind numbers those after the first.
        node.name = base if names[base] == 1 else f"{base}.{names[base]}"
        del node.metadata_props[:]
    for value in (*graph.graph.value_info, *graph.graph.initializer, graph.graph, graph):
        del value.metadata_props[:]
    return graph


def _layer_of(namespace: str) -> str:
    """The name of the innermost module of a node's namespace.

    A namespace is a path of ``name: class`` parts, the network itself first, the operator last.
    """
    parts = [part.partition(":")[0].strip() for part in namespace.split("/")]
    return parts[-2] if len(parts) > 1 else ""


def layers(graph: "ModelProto") -> dict[str, Layer]:
    """All nodes that multiply by a weight, as layers that have the nodes' names.

    Keys are the names that an optimized node may have: its own, and that of its output. If an
    addition or a ReLU is fused behind it, their outputs' names are keys too.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    by_name: dict[str, Layer] = {}
    for node in graph.graph.node:
        layer = None
        if node.op_type in ("DequantizeLinear", "Transpose") and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]  # a weight, before it is multiplied by
        elif node.op_type in _MULTIPLYING and node.input[1] in shapes:
            layer = Layer(node.name, shapes[node.input[1]])
        elif node.op_type in _FUSED:
            layer = next((by_name[name] for name in node.input if name in by_name), None)
        if layer is not None:
            by_name[node.name] = by_name[node.output[0]] = layer
    return by_name


def quantized_outputs(graph: "ModelProto", layers: Sequence[Layer]) -> dict[str, str]:
    """By layer, the tensor that its output is after a ReLU and quantization, if they follow."""
    users: dict[str, list[Any]] = {}
    for node in graph.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    outputs: dict[str, str] = {}
    for node in graph.graph.node:
        layer = owner(node.name, layers) if node.op_type in _MULTIPLYING else None
        if layer is None:
            continue
        tensor = node.output[0]
        for kind in ("Relu", "QuantizeLinear", "DequantizeLinear"):
            if [user.op_type for user in users.get(tensor, ())] == [kind]:
                tensor = users[tensor][0].output[0]
        outputs[layer] = tensor
    return outputs


def saturation_probe() -> "ModelProto":
    """A 1x1 convolution of 64 channels, weights 127, quantized so that 255 is the exact answer.

    Of images (1, 64, 8, 8) float32 that are 255 everywhere; see ``torch_engine.int8_saturates``.
    """
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: object, kind: type) -> Any:
        return numpy_helper.from_array(np.asarray(value, dtype=kind), name)

    shape: list[str | int | None] = ["n", 64, 8, 8]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "one", "zero"], ["integers"]),
        helper.make_node("DequantizeLinear", ["integers", "one", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weight", "one", "zero_s8"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["sums"], kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["sums", "step", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["rounded", "step", "zero"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "saturation",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [
            constant("one", 1, np.float32),
            constant("zero", 0, np.uint8),
            constant("zero_s8", 0, np.int8),
            constant("step", 64 * 127, np.float32),
            constant("weight", np.full((64, 64, 1, 1), 127), np.int8),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="qmodels"
    )


def is_saturated(sums: NDArray[np.float32]) -> bool:
    """Whether what the probe gave, (1, 64, 8, 8) float32, is not the exact answer."""
    return bool((sums != 255 * 64 * 127).any())
