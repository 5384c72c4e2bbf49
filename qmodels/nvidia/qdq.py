"""A fused network as an ONNX graph that says where to round: quantize and dequantize nodes (Q/DQ).

Nodes stand where TensorRT fuses them best (its documentation, "Q/DQ Layer-Placement
Recommendations"). Inputs of convolutions are rounded and weights stored as int8, all with zero
points of 0. The shortcut that is added to a convolution's sums is rounded too; the sums are not.
Convolution, bias, addition, ReLU and the rounding after them are then one kernel from int8 to int8.
If the sums were rounded before the addition, the addition would be a kernel of its own.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qmodels.network.onnx_graph import INPUT, OUTPUT
from qmodels.nvidia.calibration import IMAGE, STEM, Scale
from qmodels.nvidia.residual import Block, ResidualNetwork

if TYPE_CHECKING:
    from onnx import ModelProto

# The oldest operators that onnx can also evaluate, for the oldest TensorRT that is allowed.
_OPSET, _IR_VERSION = 19, 9
_WEIGHT_LEVELS = 127


@dataclass
class _Nodes:
    """Nodes and constants of a graph as it grows; each method adds some and names their output."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: Tensor) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(value.contiguous().numpy(), name))
        return name

    def rounded(self, x: str, name: str, scale: Scale) -> str:
        assert scale.zero_point == 0
        step = self.constant(f"{name}.scale", torch.tensor(scale.scale))
        zero = self.constant(f"{name}.zero", torch.tensor(0, dtype=torch.int8))
        integers = self.node("QuantizeLinear", [x, step, zero], f"{name}.quantized")
        return self.node("DequantizeLinear", [integers, step, zero], f"{name}.rounded")

    def convolution(self, x: str, name: str, conv: nn.Conv2d) -> str:
        """Convolve by int8 weights, a scale for each output channel, and a bias in float32."""
        assert conv.bias is not None
        weight = conv.weight.detach()
        steps = weight.abs().amax((1, 2, 3)).clamp_min(1e-12) / _WEIGHT_LEVELS
        levels = (weight / steps.view(-1, 1, 1, 1)).round().to(torch.int8)
        inputs = [
            self.constant(f"{name}.levels", levels),
            self.constant(f"{name}.steps", steps),
            self.constant(f"{name}.zeros", torch.zeros_like(steps, dtype=torch.int8)),
        ]
        filters = self.node("DequantizeLinear", inputs, f"{name}.weight", axis=0)
        bias = self.constant(f"{name}.bias", conv.bias.detach())
        reach, stride = conv.kernel_size[0] // 2, list(conv.stride)
        return self.node(
            "Conv",
            [x, filters, bias],
            f"{name}.Conv",
            kernel_shape=list(conv.kernel_size),
            strides=stride,
            pads=[reach] * 4,
        )


def graph(
    network: ResidualNetwork, scales: dict[str, Scale], input_shape: tuple[int, ...]
) -> "ModelProto":
    """Images (N, C, H, W) float32 to logits (N, classes) float32.

    The linear layer and the pooling before it stay in float.

    Args:
        scales: symmetric ones, of ``calibration.scales``.
        input_shape: channels, height and width of the images.
    """
    from onnx import TensorProto, helper

    to = _Nodes()
    x = to.rounded(INPUT, IMAGE, scales[IMAGE])
    x = to.node("Relu", [to.convolution(x, "stem.conv", network.conv)], "stem.Relu")
    x = to.rounded(x, STEM, scales[STEM])
    for block in network.blocks:
        x = _add_block(to, x, block, scales)
    fc = network.linear
    pooled = to.node("Flatten", [to.node("GlobalAveragePool", [x], "head.pool")], "head.flatten")
    weight = to.constant("head.fc.weight", fc.weight.detach())
    bias = to.constant("head.fc.bias", fc.bias.detach())
    to.nodes.append(
        helper.make_node("Gemm", [pooled, weight, bias], [OUTPUT], "head.fc.Gemm", transB=1)
    )
    graph = helper.make_graph(
        to.nodes,
        "qmodels",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *input_shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", fc.out_features])],
        to.constants,
    )
    model: ModelProto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="qmodels",
    )
    return model


def _add_block(to: _Nodes, x: str, block: Block, scales: dict[str, Scale]) -> str:
    name, shortcut = block.name, x
    if block.shortcut is not None:
        projected = to.convolution(x, f"{name}.shortcut.conv", block.shortcut)
        shortcut = to.rounded(projected, f"{name}.shortcut", scales[f"{name}.shortcut"])
    out = to.node("Relu", [to.convolution(x, f"{name}.conv1", block.conv1)], f"{name}.relu1")
    out = to.rounded(out, f"{name}.conv1", scales[f"{name}.conv1"])
    out = to.convolution(out, f"{name}.conv2", block.conv2)
    summed = to.node("Add", [out, shortcut], f"{name}.Add")
    return to.rounded(to.node("Relu", [summed], f"{name}.Relu"), name, scales[name])
