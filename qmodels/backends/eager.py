"""torch, operator by operator: a state dictionary in a safetensors file fills a model's modules.

safetensors knows no quantized tensors, so each is taken apart into its integers and its
quantization parameters, and put together again on loading.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from qmodels.backends.base import ForwardFn, Stored
from qmodels.backends.torch_engine import TorchBackend
from qmodels.system import files

_FILE = "model.safetensors"


@dataclass(frozen=True)
class Eager(TorchBackend):
    """Modules of torch, quantized or not."""

    name = "eager"

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a state dictionary, quantized or not, as one safetensors file."""
        save_state(model, folder)

    def read(self, artifact: Stored) -> ForwardFn:
        """Fill the modules from the file."""
        return load_modules(artifact)


BACKEND = Eager()


def save_state(model: nn.Module, folder: Path) -> None:
    """Write a state dictionary, quantized or not, as one safetensors file."""
    tensors: dict[str, Tensor] = {}
    state = model.state_dict()
    layout = {}
    for name, value in state.items():
        layout[name] = _take_apart(name, value, tensors)
        dtype = state.get(f"{name.rpartition('.')[0]}.dtype")
        if isinstance(value, tuple) and dtype == torch.float16:
            layout[name] = _store_in_half(layout[name], f"{name}.0", tensors)
    save_file(tensors, folder / _FILE, metadata={"layout": json.dumps(layout)})


def load_modules(artifact: Stored) -> nn.Module:
    """An artifact's modules with the stored state, in eval mode."""
    tensors, metadata = files.read_safetensors(artifact.folder / _FILE)
    model = artifact.modules()
    state = model.state_dict()  # carries the versions of the modules, which the file does not
    for name, kind in json.loads(metadata["layout"]).items():
        state[name] = _put_together(name, kind, tensors)
    model.load_state_dict(state)
    return model.eval()


def _take_apart(name: str, value: Any, tensors: dict[str, Tensor]) -> Any:
    """Put a state's value into ``tensors`` as plain tensors; returns what rebuilds it, for JSON."""
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, tuple):  # a linear layer's packed weight and bias
        return [_take_apart(f"{name}.{index}", part, tensors) for index, part in enumerate(value)]
    if value is None:
        return None
    if not getattr(value, "is_quantized", False):
        tensors[name] = value.detach().contiguous()
        return "tensor"
    # int_repr keeps the memory format; safetensors wants plain order.
    tensors[f"{name}.int"] = value.int_repr().contiguous()
    if value.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
        tensors[f"{name}.scale"] = value.q_per_channel_scales()
        tensors[f"{name}.zero_point"] = value.q_per_channel_zero_points()
        return {"axis": value.q_per_channel_axis(), "quantized": str(value.dtype)}
    tensors[f"{name}.scale"] = torch.tensor(value.q_scale(), dtype=torch.float64)
    tensors[f"{name}.zero_point"] = torch.tensor(value.q_zero_point())
    return {"axis": None, "quantized": str(value.dtype)}


def _store_in_half(kind: Any, weight: str, tensors: dict[str, Tensor]) -> Any:
    """Store the weight of a layer in float16; returns its kind."""
    tensors[weight] = tensors[weight].half()
    return [{"half": True}, *kind[1:]]


def _put_together(name: str, kind: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of ``_take_apart``."""
    if kind is None:
        return None
    if kind == "tensor":
        return tensors[name]
    if isinstance(kind, list):
        return tuple(
            _put_together(f"{name}.{index}", part, tensors) for index, part in enumerate(kind)
        )
    if "half" in kind:
        return tensors[name].float()
    if "dtype" in kind:
        return getattr(torch, kind["dtype"])
    integers = tensors[f"{name}.int"]
    scale, zero_point = tensors[f"{name}.scale"], tensors[f"{name}.zero_point"]
    if kind["axis"] is None:
        return torch._make_per_tensor_quantized_tensor(
            integers, scale.item(), int(zero_point.item())
        )
    return torch._make_per_channel_quantized_tensor(integers, scale, zero_point, kind["axis"])
