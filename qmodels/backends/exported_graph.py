"""Outputs of the layers of a quantized exported graph, computed node by node."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from qmodels.network.layers import Layer, owner

_MULTIPLYING = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)


def layer_outputs(
    graph: torch.fx.GraphModule, layers: Sequence[Layer], images: Tensor
) -> dict[str, Tensor]:
    """Output of each layer of a quantized graph, after its ReLU and quantization."""
    shown: dict[torch.fx.Node, str] = {}
    for node in graph.graph.nodes:
        modules = list(node.meta.get("nn_module_stack", {}).values())
        layer = owner(modules[-1][0], layers) if modules and node.target in _MULTIPLYING else None
        if layer is not None:
            shown[_quantized_output(node)] = layer
    outputs: dict[str, Tensor] = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, node: torch.fx.Node) -> Any:
            value = super().run_node(node)
            if node in shown:
                outputs[shown[node]] = value.clone()
            return value

    with torch.inference_mode():
        Recorder(graph).run(images)
    return outputs


def _quantized_output(node: torch.fx.Node) -> torch.fx.Node:
    """The node of a layer's output, after a ReLU and quantization if they follow."""
    for kind in ("relu", "quantize", "dequantize"):
        users = list(node.users)
        if users and all(kind in str(user.target) for user in users):
            node = users[0]
    return node
