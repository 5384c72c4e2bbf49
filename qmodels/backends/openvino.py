"""OpenVINO: graphs in its intermediate representation, executed by its CPU plugin."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qmodels.backends import openvino_network
from qmodels.backends.base import (
    UNTIMED,
    Backend,
    ForwardFn,
    Kernel,
    ProfiledForward,
    Step,
    Stored,
    time_forward,
)
from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.backends.openvino_network import FILE
from qmodels.network import onnx_graph
from qmodels.network.evaluation import sqnr_db
from qmodels.network.layers import Layer, executed, fused_outputs, output_sqnr, owner

_MULTIPLYING = ("Convolution", "GroupConvolution", "FullyConnected", "MatMul")
# What a layer's node may be joined with.
_FUSED = ("Add", "Multiply", "Relu")
_QUANTIZING = "FakeQuantize"
_INTEGERS = ("u8", "i8")
# Of a graph with fake-quantization: compute as it is written, without lowering it to integers.
_UNLOWERED = {"LP_TRANSFORMS_MODE": "NO"}


class _OpenVino(Backend):
    name = "openvino"
    requires = ("openvino", "nncf", "onnx", "onnxscript")
    extra = "openvino"
    torch_allocates = False
    service = openvino_network.__name__

    def save(self, model: Any, folder: Path) -> None:
        import openvino

        openvino.save_model(model, folder / FILE, compress_to_fp16=False)

    def load(self, artifact: Stored) -> ForwardFn:
        return _as_forward(compile_network(artifact.folder / FILE))

    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        network = compile_network(artifact.folder / FILE, PERF_COUNT=True)
        _as_forward(network)(images)
        executed_kernels = []
        for node, facts in _executed_nodes(network):
            if facts["layerType"] in _MULTIPLYING:
                weight = node.input(1).get_partial_shape().to_shape()
                # Of convolutions (out, in, height, width); of linear layers (out, in) or (in, out).
                channels = node.output(0).get_partial_shape()[1].get_length()
                outputs = len(images) * prod(
                    size.get_length() for size in list(node.output(0).get_partial_shape())[1:]
                )
                executed_kernels.append(
                    Kernel(
                        facts["originalLayersNames"].partition("/")[0].partition(",")[0],
                        facts["primitiveType"],
                        outputs * prod(weight) // channels,
                        facts["runtimePrecision"] in _INTEGERS,
                    )
                )
        return executed_kernels

    def profile(
        self, artifact: Stored, layers: Sequence[Layer], images: Tensor, forwards: int
    ) -> list[ProfiledForward] | None:
        """The counters of the execution graph, which are means in whole microseconds.

        They have no starting times: steps follow each other without the gaps between them.
        """
        path = artifact.folder / FILE
        by_name = _owners(openvino_network.core().read_model(path), layers)
        network = compile_network(path, PERF_COUNT=True)
        forward = _as_forward(network)
        for _ in range(UNTIMED):
            forward(images)
        before = {
            node.get_friendly_name(): _microseconds(facts)
            for node, facts in _executed_nodes(network)
        }
        seconds = [time_forward(lambda: forward(images)) for _ in range(forwards)]
        steps, start = [], 0.0
        for node, facts in _executed_nodes(network):
            # The counters' means cover all forwards, those before the timed ones too.
            untimed = UNTIMED * before.get(node.get_friendly_name(), 0)
            timed = (UNTIMED + forwards) * _microseconds(facts) - untimed
            elapsed = 1e-6 * max(0, timed) / forwards
            names = facts["originalLayersNames"].split(",")
            if facts["layerType"] not in _MULTIPLYING:
                names = []
            layer = next((by_name[name] for name in names if name in by_name), None)
            operation = f"{facts['layerType']} {facts['primitiveType']}"
            steps.append(Step(layer, operation, start, elapsed))
            start += elapsed
        return [ProfiledForward(statistics.fmean(seconds), tuple(steps))]

    def layer_noise(
        self,
        artifact: Stored,
        model: nn.Module,
        images: Tensor,
        quantize: Callable[[], Any] | None = None,
    ) -> list[LayerSqnr] | None:
        quantized = openvino_network.core().read_model(artifact.folder / FILE)
        layers = executed(model, images[:1])
        of_float = fused_outputs(model, images)
        of_reference = _layer_outputs(
            dequantize_linear_weights(quantized), layers, images, **_UNLOWERED
        )
        of_runtime = _layer_outputs(quantized, layers, images)
        return [
            LayerSqnr(layer, output_sqnr(exact, of_float[layer]), sqnr_db(of_runtime[layer], exact))
            for layer, exact in of_reference.items()
        ]

    def reference(self, model: Any) -> ForwardFn:
        """The graph as it is written: products of fake-quantized values in float32."""
        return _as_forward(compile_network(dequantize_linear_weights(model), **_UNLOWERED))

    def saturates(self) -> bool | None:
        model = openvino_network.core().read_model(
            onnx_graph.saturation_probe().SerializeToString()
        )
        request = compile_network(model).create_infer_request()
        sums = request.infer([np.full((1, 64, 8, 8), 255, np.float32)])[0]
        return onnx_graph.is_saturated(sums)


BACKEND = _OpenVino()


def compile_network(model: Any, **options: Any) -> Any:
    """A graph, in a file or memory, compiled for as many threads as torch has."""
    return openvino_network.compile_network(model, torch.get_num_threads(), **options)


def _executed_nodes(network: Any) -> list[tuple[Any, dict[str, str]]]:
    nodes = [
        (node, {name: str(value.value) for name, value in node.get_rt_info().items()})
        for node in network.get_runtime_model().get_ordered_ops()
    ]
    ran = [(node, facts) for node, facts in nodes if facts["execTimeMcs"] != "not_executed"]
    return sorted(ran, key=lambda node_facts: int(node_facts[1]["execOrder"]))


def _microseconds(facts: Mapping[str, str]) -> int:
    return int(facts["execTimeMcs"])


def _owners(model: Any, layers: Sequence[Layer]) -> dict[str, str]:
    """The layer that a node multiplies, by the node's name.

    Sums and ReLUs behind it count as well: a node of the execution graph may have their names.
    """
    by_name: dict[str, str] = {}
    for node in model.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        layer = None
        if kind in _MULTIPLYING:
            layer = owner(name.partition("/")[0], layers)
        elif kind in _FUSED:
            inputs = (value.get_node().get_friendly_name() for value in node.input_values())
            layer = next((by_name[name] for name in inputs if name in by_name), None)
        if layer is not None:
            by_name[name] = layer
    return by_name


def _layer_outputs(
    model: Any, layers: Sequence[Layer], images: Tensor, **options: Any
) -> dict[str, Tensor]:
    import openvino

    copy = model.clone()
    shown = {
        layer: _quantized_output(node.output(0))
        for node in copy.get_ordered_ops()
        if node.get_type_name() in _MULTIPLYING
        and (layer := owner(node.get_friendly_name().partition("/")[0], layers)) is not None
    }
    showing = openvino.Model(list(shown.values()), copy.get_parameters(), "layers")
    values = compile_network(showing, **options)([images.numpy()])
    return {layer: torch.from_numpy(values[place]) for place, layer in enumerate(shown)}


def _quantized_output(output: Any) -> Any:
    """The output of a layer after its bias, scale, ReLU and quantization, if they follow."""
    while len(users := _value_users(output)) == 1:
        (node,) = users
        # The batch is dynamic: what has a static shape is no activation.
        activations = [value for value in node.inputs() if value.get_partial_shape().is_dynamic]
        if node.get_type_name() not in (*_FUSED, _QUANTIZING) or len(activations) > 1:
            break
        output = node.output(0)
        if node.get_type_name() == _QUANTIZING:
            break
    return output


def _value_users(output: Any) -> list[Any]:
    """The nodes that take an output's values, and not its shape alone."""
    nodes = [user.get_node() for user in output.get_target_inputs()]
    return [node for node in nodes if node.get_type_name() != "ShapeOf"]


def _as_forward(network: Any) -> ForwardFn:
    forward = openvino_network.as_forward(network)
    return lambda images: torch.from_numpy(forward(images.numpy()))


def dequantize_linear_weights(model: Any) -> Any:
    """A copy of a graph whose linear layers have float32 weights instead of int8 and scales.

    The plugin has no kernel for the latter on processors without AVX-512 that are told not to
    lower the graph.
    """
    import openvino
    from openvino import opset13

    copy = model.clone()
    for node in copy.get_ordered_ops():
        if node.get_type_name() == "MatMul":
            weights = openvino.Model([node.input(1).get_source_output()], [])
            (values,) = compile_network(weights)([]).values()
            constant = opset13.constant(np.array(values))
            node.input(1).replace_source_output(constant.output(0))
    return copy
