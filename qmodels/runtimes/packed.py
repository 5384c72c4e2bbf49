"""Weights of four bits on disk, in float when they run: two to a byte, in a safetensors file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from qmodels import resnet
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.format import Format, Restructure, Structure

FILE = "model.safetensors"
FOUR_BITS = range(-8, 8)


@dataclass(frozen=True)
class Rounded:
    """A fused float network, and the integers that some of its weights are made of.

    ``levels`` are int8 of the weights' shapes, ``scales`` float16 of their first dimension, both
    by the weights' names; the network's weights are their products.
    """

    network: nn.Module
    levels: dict[str, Tensor]
    scales: dict[str, Tensor]


def save(rounded: Rounded, structure: Structure, folder: Path) -> None:
    """Write integers and scales of what is rounded, two levels to a byte where four bits do."""
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, value in rounded.network.state_dict().items():
        if name not in rounded.levels:
            tensors[name] = value.contiguous()
            continue
        levels = rounded.levels[name]
        tensors[f"{name}.scale"] = rounded.scales[name]
        if int(levels.min()) in FOUR_BITS and int(levels.max()) in FOUR_BITS:
            shapes[name] = list(levels.shape)
            tensors[f"{name}.nibbles"] = pack(levels)
        else:
            tensors[f"{name}.levels"] = levels.contiguous()
    save_file(
        tensors,
        folder / FILE,
        metadata={"structure": json.dumps(asdict(structure)), "shapes": json.dumps(shapes)},
    )


def load(folder: Path, restructure: Restructure) -> Runnable:
    """Rebuild the network and multiply its weights out."""
    with safe_open(folder / FILE, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    structure = Structure(**json.loads(metadata["structure"]))
    shapes = json.loads(metadata["shapes"])
    with torch.random.fork_rng(devices=[]):
        blank = resnet.build(structure.architecture, structure.width, structure.classes)
    network: nn.Module = restructure(blank.eval()).network
    state = network.state_dict()
    for name in state:
        if f"{name}.scale" in tensors:
            nibbles = tensors.get(f"{name}.nibbles")
            levels = tensors[f"{name}.levels"] if nibbles is None else unpack(nibbles, shapes[name])
            state[name] = multiplied(levels, tensors[f"{name}.scale"])
        else:
            state[name] = tensors[name]
    network.load_state_dict(state)
    return network.eval()


def multiplied(levels: Tensor, scales: Tensor) -> Tensor:
    """Weights float32 of levels (out, ...) int8 and scales (out,) float16."""
    return levels.float() * scales.float().view(-1, *[1] * (levels.dim() - 1))


def pack(levels: Tensor) -> Tensor:
    """Levels of four bits, any shape, int8, as bytes (ceil(N / 2),) uint8, low half first."""
    flat = (levels.flatten().to(torch.int16) + 8).to(torch.uint8)
    flat = torch.nn.functional.pad(flat, (0, flat.numel() % 2))
    return flat[0::2] | (flat[1::2] << 4)


def unpack(nibbles: Tensor, shape: list[int]) -> Tensor:
    """The inverse of ``pack``."""
    halves = torch.stack([nibbles & 15, nibbles >> 4], dim=1).flatten()
    count = torch.Size(shape).numel()
    return (halves[:count].to(torch.int8) - 8).view(shape)


PACKED = Format(save, load)
