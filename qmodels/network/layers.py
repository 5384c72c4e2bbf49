"""The layers of a network that multiply, and which of them a runtime's kernel belongs to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from qmodels.network.evaluation import sqnr_db
from qmodels.network.fusion import chains, fuse


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Attributes:
        name: of its module.
        weight: shape of its weight, (out, in / groups, ...).
        output: shape of its output for an image, (C, H, W) or (C,); empty where it is unknown.
    """

    name: str
    weight: tuple[int, ...]
    output: tuple[int, ...] = ()


def executed(model: nn.Module, images: Tensor) -> list[Layer]:
    """The layers of a float network in eval mode, in the order that a forward runs them.

    Args:
        images: (N, C, H, W) float32.
    """
    layers: list[Layer] = []
    handles = [
        module.register_forward_hook(
            lambda module, _, output, name=name: layers.append(
                Layer(name, tuple(module.weight.shape), tuple(output.shape[1:]))
            )
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.inference_mode():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return layers


def blocks(layer: str) -> list[str]:
    """Names of the modules that a layer is in, the innermost first, without the network itself."""
    parts = layer.split(".")
    return [".".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1)]


def fused_outputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Outputs of all modules of a float network in eval mode, by name.

    Those of a convolution include the batch norm and the ReLU behind it, which runtimes fuse.

    Args:
        images: (N, C, H, W) float32.
    """
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(name, output.clone())

    fused = fuse(model)
    for name, module in fused.named_modules():
        module.register_forward_hook(keep(name))
    with torch.inference_mode():
        fused(images)
    for first, *_, last in chains(model):
        if last in outputs:  # a forward may take another branch than it did when it was traced
            outputs[first] = outputs[last]
    return outputs


def output_sqnr(values: Tensor, expected: Tensor) -> float:
    """SQNR of a layer's output, in decibels.

    One of the two may be behind a ReLU that is a module or a function of its own in the other
    graph. Where one is nowhere negative, what is negative in the other is not compared.
    """
    if values.min() >= 0 or expected.min() >= 0:
        values, expected = values.relu(), expected.relu()
    return sqnr_db(values, expected)


def assign(
    weights: Iterable[tuple[int, ...]],
    layers: Iterable[Layer],
    outputs: Iterable[tuple[int, ...]] = (),
) -> list[str | None]:
    """Name kernels that are known by shapes alone.

    Kernels whose shapes are equal run in the order of the network's own forward.

    Args:
        weights: their shapes, (out, in / groups, ...), in the order that the kernels ran.
        layers: in the order that the network runs them.
        outputs: their shapes for an image, where they are known.

    Returns:
        For each kernel the name of its layer; None where no layer of the shapes is left.
    """
    left = list(layers)
    names: list[str | None] = []
    for weight, output in zip_longest(weights, outputs, fillvalue=()):
        layer = next(
            (each for each in left if each.weight == weight and output in ((), each.output)), None
        )
        if layer is not None:
            left.remove(layer)
        names.append(layer.name if layer else None)
    return names


def owner(part: str, layers: Sequence[Layer]) -> str | None:
    """The layer that a node of a graph belongs to, as ``stem.conv`` for ``stem.conv.Conv``.

    None where the name of no layer begins the node's.
    """
    names = {layer.name for layer in layers}
    while part and part not in names:
        part = part.rpartition(".")[0]
    return part or None
