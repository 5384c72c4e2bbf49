"""The state that a killed training resumes from: a safetensors file, replaced atomically."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from qmodels.system import files
from qmodels.system.errors import UserError


@dataclass(frozen=True)
class State:
    """Everything that changes from epoch to epoch. Random numbers are drawn anew in each."""

    model: nn.Module
    optimizer: torch.optim.SGD
    average: AveragedModel | None

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, not copied; momentum is made where the optimizer has none yet."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            slot = self.optimizer.state[parameter]
            if "momentum_buffer" not in slot:
                slot["momentum_buffer"] = torch.zeros_like(parameter)
            tensors[f"momentum.{name}"] = slot["momentum_buffer"]
        if self.average is not None:
            tensors |= {f"average.{k}": value for k, value in self.average.state_dict().items()}
        return tensors


def save(path: Path, state: State, epochs: int, precision: str) -> None:
    """Write the state after some epochs, and the precision they were in, in one atomic file."""
    tensors = {
        name: value.detach().cpu().contiguous().clone() for name, value in state.tensors().items()
    }
    with files.atomic_write(path) as scratch:
        save_file(tensors, scratch, metadata={"epochs": str(epochs), "precision": precision})


def precision(path: Path) -> str | None:
    """The precision of the epochs in a file that ``save`` wrote; None where there is none."""
    if not path.exists():
        return None
    with _damage_as_error(path), safe_open(path, framework="pt") as file:
        return str(file.metadata()["precision"])


def restore(path: Path, state: State) -> int:
    """Read what ``save`` wrote and return the epochs done, 0 where there is nothing."""
    if not path.exists():
        return 0
    with _damage_as_error(path):
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            epochs = int(file.metadata()["epochs"])

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

        state.model.load_state_dict(part("model."))
        if state.average is not None:
            state.average.load_state_dict(part("average."))
        # Only now: loading may have given ranges of quantization their shapes.
        current = state.tensors()
        for name, momentum in part("momentum.").items():
            current[f"momentum.{name}"].copy_(momentum)
    return epochs


@contextmanager
def _damage_as_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError):
        raise UserError(f"training state {path} is damaged: delete it to start afresh") from None
