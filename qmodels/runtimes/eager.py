"""torch's own ways to store a model: a state dictionary as safetensors, or a TorchScript archive.

safetensors knows no quantized tensors, so each is taken apart into its integers and its
quantization parameters, and put together again on loading.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from qmodels import resnet, torch_ao
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.format import Format, Restructure, Structure

WEIGHTS_FILE = "model.safetensors"
SCRIPT_FILE = "model.pt"


def save_weights(model: nn.Module, structure: Structure, folder: Path) -> None:
    """Write a state dictionary, quantized or not, as one safetensors file."""
    tensors: dict[str, Tensor] = {}
    layout = {name: take_apart(name, value, tensors) for name, value in model.state_dict().items()}
    save_file(
        tensors,
        folder / WEIGHTS_FILE,
        metadata={"structure": json.dumps(asdict(structure)), "layout": json.dumps(layout)},
    )


def load_weights(folder: Path, restructure: Restructure) -> Runnable:
    """Rebuild the modules and fill them from the file."""
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    structure = Structure(**json.loads(metadata["structure"]))
    with torch.random.fork_rng(devices=[]):
        blank = resnet.build(structure.architecture, structure.width, structure.classes)
    model: nn.Module = restructure(blank.eval())
    state = model.state_dict()  # carries the versions of the modules, which the file does not
    for name, kind in json.loads(metadata["layout"]).items():
        state[name] = put_together(name, kind, tensors)
    model.load_state_dict(state)
    return model.eval()


def take_apart(name: str, value: Any, tensors: dict[str, Tensor]) -> Any:
    """Put a state's value into ``tensors`` as plain tensors; returns what rebuilds it, for JSON."""
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, tuple):  # a linear layer's packed weight and bias
        return [take_apart(f"{name}.{index}", part, tensors) for index, part in enumerate(value)]
    if value is None:
        return None
    if not value.is_quantized:
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


def put_together(name: str, kind: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of ``take_apart``."""
    if kind is None:
        return None
    if kind == "tensor":
        return tensors[name]
    if isinstance(kind, list):
        return tuple(
            put_together(f"{name}.{index}", part, tensors) for index, part in enumerate(kind)
        )
    if "dtype" in kind:
        return getattr(torch, kind["dtype"])
    integers = tensors[f"{name}.int"]
    scale, zero_point = tensors[f"{name}.scale"], tensors[f"{name}.zero_point"]
    if kind["axis"] is None:
        return torch._make_per_tensor_quantized_tensor(
            integers, scale.item(), int(zero_point.item())
        )
    return torch._make_per_channel_quantized_tensor(integers, scale, zero_point, kind["axis"])


def save_script(script: torch.jit.ScriptModule, structure: Structure, folder: Path) -> None:
    """Write a TorchScript archive."""
    with torch_ao.quietly():
        torch.jit.save(script, folder / SCRIPT_FILE)


def load_script(folder: Path, restructure: Restructure) -> Runnable:
    """Read a TorchScript archive, which holds its own structure."""
    with torch_ao.quietly():
        script: Runnable = torch.jit.load(folder / SCRIPT_FILE)
    return script


WEIGHTS = Format(save_weights, load_weights)
SCRIPT = Format(save_script, load_script)
