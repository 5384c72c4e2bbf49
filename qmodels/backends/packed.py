"""Weights of four bits on disk, in float when they run: two to a byte, in a safetensors file."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from qmodels.backends.base import ForwardFn, Stored
from qmodels.backends.torch_engine import TorchBackend
from qmodels.system import files

_FILE = "model.safetensors"
_FOUR_BITS = range(-8, 8)


@dataclass(frozen=True)
class Rounded:
    """A fused float network, and the integers that some of its weights are made of.

    ``levels`` are int8 of the weights' shapes, ``scales`` float16 of their first dimension, both
    by the weights' names; the network's weights are their products.
    """

    network: nn.Module
    levels: dict[str, Tensor]
    scales: dict[str, Tensor]


@dataclass(frozen=True)
class _Packed(TorchBackend):
    name = "packed"

    def save(self, model: Rounded, folder: Path) -> None:
        """Write integers and scales, two levels to a byte where four bits do."""
        tensors: dict[str, Tensor] = {}
        shapes: dict[str, list[int]] = {}
        for name, value in model.network.state_dict().items():
            if name not in model.levels:
                tensors[name] = value.contiguous()
                continue
            levels = model.levels[name]
            tensors[f"{name}.scale"] = model.scales[name]
            if int(levels.min()) in _FOUR_BITS and int(levels.max()) in _FOUR_BITS:
                shapes[name] = list(levels.shape)
                tensors[f"{name}.nibbles"] = pack(levels)
            else:
                tensors[f"{name}.levels"] = levels.contiguous()
        save_file(tensors, folder / _FILE, metadata={"shapes": json.dumps(shapes)})

    def read(self, artifact: Stored) -> ForwardFn:
        tensors, metadata = files.read_safetensors(artifact.folder / _FILE)
        shapes = json.loads(metadata["shapes"])
        network = artifact.modules()
        state = network.state_dict()
        for name in state:
            if f"{name}.scale" in tensors:
                nibbles = tensors.get(f"{name}.nibbles")
                stored = tensors.get(f"{name}.levels")
                levels = unpack(nibbles, shapes[name]) if nibbles is not None else stored
                assert levels is not None
                state[name] = dequantize(levels, tensors[f"{name}.scale"])
            else:
                state[name] = tensors[name]
        network.load_state_dict(state)
        return network.eval()


BACKEND = _Packed()


def dequantize(levels: Tensor, scales: Tensor) -> Tensor:
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
