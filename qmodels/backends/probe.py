"""Ask a backend whether it works here, and whether its int8 kernels saturate.

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

from qmodels.backends import registry
from qmodels.backends.base import Backend
from qmodels.system import machine, packages, sources, store, worker
from qmodels.system.errors import UserError

SECONDS = 120.0
VERDICT_FILE = "verdict.json"


@dataclass(frozen=True)
class Verdict:
    """What came of asking a backend.

    Attributes:
        broken: why it does not work, in part of a line; None where it does.
        saturates: whether int8 convolutions give wrong sums at full range; None without int8.
    """

    broken: str | None
    saturates: bool | None


class Broken(UserError):
    """A runtime is installed and does not work; the text says why, in part of a line."""


@cache
def ask(backend: Backend, modules: tuple[str, ...]) -> Verdict:
    """Whether a backend works together with modules that a variant needs, and saturates."""
    if not (backend.isolated and modules):
        return Verdict(None, backend.saturates())
    inputs = {
        "backend": backend.name,
        "modules": {module: packages.installed(module) for module in modules},
        "machine_class": machine.machine_class(),
        "versions": machine.versions(),
        # Variables that hide instructions from a kernel library.
        "isa": {name: value for name, value in os.environ.items() if name.endswith("_ISA")},
        "sources": sources.import_digests([ask, type(backend)]),
    }

    def write(folder: Path) -> None:
        verdict = in_a_process(backend.name, modules)
        store.write_text(folder / VERDICT_FILE, json.dumps(asdict(verdict)))

    try:
        folder = store.build_folder(
            f"{backend.name}-probe", inputs, write, root=store.cache_dir("probes")
        )
    except Broken as error:
        return Verdict(str(error), None)
    return Verdict(**json.loads((folder / VERDICT_FILE).read_text(encoding="utf-8")))


def in_a_process(name: str, modules: tuple[str, ...]) -> Verdict:
    """What a fresh process answers.

    Raises:
        Broken: it gave no answer.
    """
    try:
        with worker.start("qmodels.backends.probe") as process:
            request = {"backend": name, "modules": modules}
            return Verdict(**process.request(request, limit=SECONDS))
    except UserError as error:
        raise Broken(str(error)) from None


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """In the process: import the modules, and compute.

    Args:
        request: the name of a ``backend``, and ``modules``.
    """
    for module in request["modules"]:
        import_module(module)
    return asdict(Verdict(None, registry.find(request["backend"]).saturates()))


if __name__ == "__main__":
    worker.serve(answer)
