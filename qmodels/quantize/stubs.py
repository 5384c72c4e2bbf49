"""Put into a network what eager-mode static quantization replaces, by torch.fx.

Eager mode replaces modules. So quantization begins and ends at stubs, and sums, products and
concatenations are modules with an output of their own to round. Source: torch's documentation of
``torch.ao.quantization``, "Model preparation for eager mode static quantization".
"""

import copy
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules
from torch.nn import functional

from qmodels.network import fusion
from qmodels.system.errors import Unavailable, describe_error

# Modules with a quantized counterpart: their inputs have to be quantized.
_REPLACED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.Hardswish, nn.Sigmoid, nn.LeakyReLU, nn.ELU)
# What computes with quantized tensors as with others: modules, functions, names of methods.
_KEPT: frozenset[Any] = frozenset(
    {
        *(nn.ReLU, nn.ReLU6, nn.Hardsigmoid, nn.Flatten, nn.Dropout),
        *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Upsample),
        *(torch.flatten, torch.reshape, torch.permute, torch.transpose),
        *(torch.mean, torch.chunk, torch.split, operator.getitem),
        *(functional.relu6, functional.max_pool2d, functional.avg_pool2d),
        *(functional.adaptive_avg_pool2d, functional.interpolate),
        *("flatten", "view", "reshape", "permute", "transpose", "contiguous", "mean"),
        *("chunk", "split", "squeeze", "unsqueeze"),
    }
)
_RELUS: frozenset[Any] = frozenset({nn.ReLU, functional.relu, torch.relu, "relu", "relu_"})
_OPERATIONS: dict[Any, str] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), "add"),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), "mul"),
    **dict.fromkeys((torch.cat, torch.concat), "cat"),
}
# What gives numbers of a tensor, and no tensor.
_NUMBERS: frozenset[Any] = frozenset({getattr, len, "size", "dim", "numel"})


class Operation(nn.Module):
    """An operation of ``FloatFunctional`` as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.functional = FloatFunctional()

    def forward(self, *operands: Any) -> Tensor:
        """The result, for operands as the method takes them."""
        result: Tensor = getattr(self.functional, self.name)(*operands)
        return result


def with_stubs(model: nn.Module) -> fx.GraphModule:
    """A fused copy of a float model in eval mode, ready for eager-mode quantization.

    What has no quantized counterpart computes in float, between stubs.

    Raises:
        Unavailable: torch.fx can't trace the model.
    """
    try:
        traced = fx.symbolic_trace(copy.deepcopy(model))
    except Exception as error:  # whatever the model's code does with a tensor that has no values
        raise Unavailable(
            f"torch.fx can't trace {type(model).__name__} ({describe_error(error)}): choose a "
            "variant that exports the network"
        ) from None
    _leave_out_identities(traced)
    _place_operations(traced)
    _place_stubs(traced)
    traced.recompile()
    traced.eval()  # the new modules too
    for chain in fusion.chains_of(traced):
        fuse_modules(traced, list(chain), inplace=True)
    return traced


def _leave_out_identities(traced: fx.GraphModule) -> None:
    """Have convolutions and ReLUs follow one another where batch norms were folded."""
    for node in list(traced.graph.nodes):
        if _target(traced, node) is nn.Identity:
            node.replace_all_uses_with(node.all_input_nodes[0])
            traced.graph.erase_node(node)


def _target(traced: fx.GraphModule, node: fx.Node) -> Any:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target)))
    return node.target


def _tensors(traced: fx.GraphModule) -> set[fx.Node]:
    giving: set[fx.Node] = set()
    for node in traced.graph.nodes:
        known = node.op in ("placeholder", "call_module", "get_attr")
        of_tensors = not giving.isdisjoint(node.all_input_nodes)
        if known or (of_tensors and _target(traced, node) not in _NUMBERS):
            giving.add(node)
    return giving


def _place_operations(traced: fx.GraphModule) -> None:
    """Turn ReLUs, sums, products and concatenations into modules; a sum takes the ReLU behind it.

    Sums and products of a tensor and a number are left, and so compute in float.
    """
    giving = _tensors(traced)
    for node in list(traced.graph.nodes):
        called = _target(traced, node)
        if node.op not in ("call_function", "call_method") or node not in giving:
            continue
        if called in _RELUS:
            giving.add(_replace(traced, node, nn.ReLU(), node.args[:1]))
        elif called in _OPERATIONS and not node.kwargs.keys() - {"dim"}:
            name, operands = _OPERATIONS[called], node.args
            if name != "cat" and (len(operands) != 2 or not giving.issuperset(operands)):
                continue
            if "dim" in node.kwargs:
                operands = (*operands, node.kwargs["dim"])
            behind = next(iter(node.users)) if len(node.users) == 1 else None
            if name == "add" and behind and _target(traced, behind) in _RELUS:
                behind.replace_all_uses_with(node)
                traced.graph.erase_node(behind)
                giving.discard(behind)
                name = "add_relu"
            giving.add(_replace(traced, node, Operation(name), operands))


def _replace(
    traced: fx.GraphModule, node: fx.Node, module: nn.Module, arguments: tuple[Any, ...]
) -> fx.Node:
    """Call a module in the place of a node; returns the call."""
    with traced.graph.inserting_before(node):
        called = _call(traced, node.name, module, arguments)
    called.meta = dict(node.meta)
    node.replace_all_uses_with(called)
    traced.graph.erase_node(node)
    return called


def _call(
    traced: fx.GraphModule, name: str, module: nn.Module, arguments: tuple[Any, ...]
) -> fx.Node:
    while hasattr(traced, name):
        name += "_"
    traced.add_submodule(name, module)
    return traced.graph.call_module(name, arguments)


def _place_stubs(traced: fx.GraphModule) -> None:
    """Quantize what modules with a quantized counterpart take, and dequantize what others do."""
    giving = _tensors(traced)
    quantized: set[fx.Node] = set()
    stubs: dict[fx.Node, fx.Node] = {}

    def give(node: fx.Node, given: fx.Node, stub: Callable[[], nn.Module]) -> None:
        """Have a node take its input from a stub, of which each tensor has one."""
        if given not in stubs:
            with traced.graph.inserting_after(given):
                module = stub()
                name = f"{type(module).__name__.lower()}_{given.name}"
                stubs[given] = _call(traced, name, module, (given,))
        node.replace_input_with(given, stubs[given])

    for node in list(traced.graph.nodes):
        if node not in giving and node.op != "output":
            continue
        called = _target(traced, node)
        inputs = [given for given in node.all_input_nodes if given in giving]
        is_module = node.op == "call_module"
        # Exact types: torch replaces no others.
        is_replaced = is_module and called in (*_REPLACED, Operation)
        keeps = called in _KEPT and not quantized.isdisjoint(inputs)
        for given in inputs:
            if (is_replaced or keeps) and given not in quantized:
                give(node, given, QuantStub)
            elif not (is_replaced or called in _KEPT) and given in quantized:
                give(node, given, DeQuantStub)
        if is_replaced or keeps:
            quantized.add(node)
        elif is_module:
            traced.get_submodule(str(node.target)).qconfig = None  # type: ignore[assignment]
