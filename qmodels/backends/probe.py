"""Probe whether a backend works here, and whether its int8 kernels saturate.

A runtime other than torch is probed in a process of its own. If it is broken, even by an illegal
instruction, only its own variants are lost.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from qmodels.backends.base import Backend
from qmodels.system import child, codec, files, machine, packages, sources, store, worker
from qmodels.system.errors import UserError

_SECONDS = 120.0
_STATUS_FILE = "status.json"


@dataclass(frozen=True)
class BackendStatus:
    """The result of probing a backend.

    Attributes:
        broken: why it does not work, as a message fragment; None where it does.
        saturates: whether int8 convolutions give wrong sums at full range; None without int8.
    """

    broken: str | None
    saturates: bool | None


@dataclass(frozen=True)
class _ProbeRequest:
    backend: str
    modules: tuple[str, ...]


class BackendBroken(UserError):
    """A runtime is installed and does not work; the text is the reason, as a message fragment."""


@cache
def probe_backend(backend: Backend, modules: tuple[str, ...]) -> BackendStatus:
    """Whether a backend works together with modules that a variant needs, and saturates."""
    if not (backend.isolated and modules):
        return BackendStatus(None, backend.saturates())
    inputs = {
        "backend": backend.name,
        "modules": {module: packages.installation(module) for module in modules},
        "machine_class": machine.machine_class(),
        "versions": machine.versions(),
        # Variables that hide instructions from a kernel library.
        "isa": {name: value for name, value in os.environ.items() if name.endswith("_ISA")},
        "sources": sources.import_digests([probe_backend, type(backend)]),
    }

    def write(folder: Path) -> None:
        status = probe_in_subprocess(type(backend).__module__, modules)
        files.write_text(folder / _STATUS_FILE, json.dumps(asdict(status)))

    try:
        folder = store.get_or_build(
            f"{backend.name}-probe", inputs, write, root=store.cache_dir("probes")
        )
    except BackendBroken as error:
        return BackendStatus(str(error), None)
    with codec.damage_as_error(folder / _STATUS_FILE, f"delete {folder}"):
        return codec.decode(BackendStatus, codec.parse_json((folder / _STATUS_FILE).read_bytes()))


def probe_in_subprocess(module: str, modules: tuple[str, ...]) -> BackendStatus:
    """Probe a backend in a fresh process.

    Raises:
        BackendBroken: it gave no answer.
    """
    try:
        with worker.start("qmodels.backends.probe") as process:
            request = asdict(_ProbeRequest(module, modules))
            return process.ask(BackendStatus, request, timeout=_SECONDS)
    except UserError as error:
        raise BackendBroken(str(error)) from None


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    asked = codec.decode(_ProbeRequest, request)
    for module in asked.modules:
        import_module(module)
    backend = getattr(import_module(asked.backend), "BACKEND", None)
    if not isinstance(backend, Backend):
        raise UserError(f"module {asked.backend} has no BACKEND: give its backend that name")
    return asdict(BackendStatus(None, backend.saturates()))


if __name__ == "__main__":
    child.serve(_answer)
