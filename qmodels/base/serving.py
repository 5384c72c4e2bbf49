"""`qmodels serve`: what this code does for another state of itself, and for itself.

Requests and answers are those of a protocol, which older and newer states of the code speak too:
see ``base.protocol``.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from qmodels import __version__, variants
from qmodels.base.protocol import PROTOCOL
from qmodels.measure import latency_worker
from qmodels.measure.latency_worker import Loader, ModelProcesses
from qmodels.network import Call, open_network
from qmodels.system import child, codec, forked, machine, packages, worker
from qmodels.system.errors import UserError, describe_error, failure_line

_HELLO_SECONDS = 600.0
_BENCHES_SECONDS = 12 * 3600.0  # of all variants of a wide network


def _hello(module: str) -> dict[str, Any]:
    if packages.file_of(module):
        try:
            import_module(module)
        except Exception as error:  # whatever a user's module raises
            raise UserError(
                f"module {module} can't be imported ({describe_error(error)})"
            ) from None
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "file": packages.file_of(module),
        "variants": list(variants.all_variants()),
        "conditions": {
            "machine_class": machine.machine_class(),
            "versions": versions(),
            # Variables that hide instructions from a kernel library.
            "isa": {name: value for name, value in os.environ.items() if name.endswith("_ISA")},
        },
    }


def versions() -> dict[str, str]:
    """Versions of Python, of torch, and of all that variants require."""
    known = variants.all_variants().values()
    modules = sorted({module for variant in known for module in variant.requires})
    return machine.versions() | packages.versions(modules)


@dataclass(frozen=True)
class BuildRequest:
    """Quantize a network.

    Attributes:
        network: as ``Network.call``.
        variants: names.
    """

    network: Call
    variants: tuple[str, ...]


@dataclass(frozen=True)
class _MeasureRequest:
    """Run benches of this code.

    Attributes:
        network: as ``Network.call``.
        benches: files, or a module that holds them.
        variants: names.
        accuracy_images: as in the option of that name, or None.
        file: the path that the run record is written to.
    """

    network: Call
    benches: tuple[str, ...]
    variants: tuple[str, ...]
    threads: int
    accuracy_images: str | None
    file: str


def _build(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Quantize a network where that was not done before.

    Returns:
        ``folders`` of artifacts and lines for ``failures``, both by variant.
    """
    asked = codec.decode(BuildRequest, request)
    network = open_network(asked.network.function, **asked.network.arguments)
    known = variants.all_variants()
    folders, failures = {}, {}
    for name in asked.variants:
        try:
            folders[name] = str(variants.build(known[name], network).folder)
        except Exception as error:  # whatever a quantizer or a runtime raises
            failures[name] = failure_line(name, error)
    return {"folders": folders, "failures": failures}


def _measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run benches of this code, except those of latency; what fails is in the record."""
    asked = codec.decode(_MeasureRequest, request)
    call, record = asked.network, Path(asked.file)
    options = {
        "--benchmark-json": record,
        # Functions of this package have arguments named as the options that choose their network.
        **{f"--qmodels-{name}": value for name, value in call.arguments.items()},
        "--qmodels-network": None if call.arguments else call.function,
        "--qmodels-variants": ",".join(asked.variants),
        "--qmodels-threads": asked.threads,
        "--qmodels-accuracy-images": asked.accuracy_images,
    }
    # The pytest that asks, if it is one, has variables that are not for this one.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "CI" and not name.startswith("PYTEST_")
    }
    finished = worker.run(
        *(sys.executable, "-P", "-m", "pytest", "--pyargs", *asked.benches),
        *("-k", "not latency"),
        "--qmodels-recompute",
        *("-p", "no:cacheprovider"),  # writes nothing into the checkout
        *("-o", f"qmodels_baselines={record.parent}"),  # compares with nothing
        *(f"{name}={value}" for name, value in options.items() if value is not None),
        timeout=_BENCHES_SECONDS,
        environment=environment,
    )
    if not record.exists():
        reason = worker.last_line(finished.stdout.decode(errors="replace")) or finished.reason
        raise UserError(f"its benches measured nothing: {reason}")
    return {}


def main(load: Callable[[Mapping[str, Any]], Mapping[str, Loader]] = latency_worker.load) -> None:
    """Serve one connection.

    Args:
        load: maps a ``load`` request to the models that ``visit`` requests then name.
    """
    models = ModelProcesses()
    requests: dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
        "build": _build,
        "measure": _measure,
        "load": lambda request: models.load(
            load(request), codec.decode(int, request.get("threads"), at="threads")
        ),
        "visit": models.visit,
    }

    def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
        if "protocol" in request:
            # It imports every backend. Processes of models are forked from this one, and each is
            # to have its own backend alone.
            greeting = partial(_hello, codec.decode(str, request.get("module"), at="module"))
            return forked.call("hello", greeting, timeout=_HELLO_SECONDS)
        return requests[request["request"]](request)

    child.serve(answer)
