"""TorchScript: a traced and frozen graph in one archive, run operator by operator."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from qmodels.backends import archive, torch_ao
from qmodels.backends.base import ForwardFn, Stored
from qmodels.backends.torch_engine import TorchBackend
from qmodels.system.errors import Obstacle

_FILE = "model.pt"
# Values of PYTORCH_JIT.
_DISABLED = ("0", "false", "no", "0v")


@dataclass(frozen=True)
class _TorchScript(TorchBackend):
    """Graphs whose weights are constants."""

    name = "torchscript"

    def obstacle(self) -> Obstacle | None:
        value = os.environ.get("PYTORCH_JIT", "1")
        if value.lower() in _DISABLED:
            return Obstacle(f"PYTORCH_JIT={value} disables TorchScript: unset it", fixable=True)
        return super().obstacle() or torch_ao.torchscript_obstacle()

    def save(self, model: "torch.jit.ScriptModule", folder: Path) -> None:
        """Write an archive, without the source lines that its operators were traced from."""
        archive_bytes = io.BytesIO()
        torch.jit.save(model, archive_bytes)
        archive.copy_without(archive_bytes, folder / _FILE, ".debug_pkl")

    def read(self, artifact: Stored) -> ForwardFn:
        script: ForwardFn = torch.jit.load(artifact.folder / _FILE)
        return script


BACKEND = _TorchScript()
