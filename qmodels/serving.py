"""`qmodels serve`: do what another state of this code asks for, and itself too.

Another one may have changed since: what is here takes and answers no more than ``protocol`` says.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qmodels import __version__, checkpoints, child, data, engines, machine, variants
from qmodels.child import HERE
from qmodels.errors import UserError
from qmodels.measure import stopwatch
from qmodels.measure.stopwatch import Loader, Stopwatch
from qmodels.protocol import PROTOCOL


def hello() -> dict[str, Any]:
    """What this side is: see ``protocol.Hello``; ``root`` is the folder that holds its package."""
    known = variants.all_variants()
    modules = sorted({module for one in known.values() for module in one.requires})
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "root": str(HERE.root.resolve()),
        "variants": list(known),
        "conditions": {
            "machine_class": machine.machine_class(),
            "versions": machine.versions() | engines.versions(modules),
            # Kernels that were hidden from a runtime.
            "isa": {name: value for name, value in os.environ.items() if name.endswith("_ISA")},
        },
    }


def build(request: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Quantize a checkpoint, or find that it was done before.

    Args:
        request: the path of a ``checkpoint``, and names of ``variants``.

    Returns:
        ``folders`` and ``failures``, by variant: where an artifact is, or why there is none.
    """
    checkpoint = checkpoints.named(request["checkpoint"])
    dataset = data.load(checkpoint.dataset)
    known = variants.all_variants()
    folders, failures = {}, {}
    for name in request["variants"]:
        try:
            folders[name] = str(variants.build(known[name], checkpoint, dataset).folder)
        except Exception as error:  # whatever a quantizer or a runtime raises
            failures[name] = stopwatch.line(name, error)
    return {"folders": folders, "failures": failures}


def measure(request: Mapping[str, Any]) -> None:
    """Run the benches of this code, but those of latency; what regressed here is no matter.

    Args:
        request: the path of a ``checkpoint``, names of ``variants``, how many ``threads``,
            ``accuracy_images`` as in the option of that name or none, and ``file``, where the run
            record goes.

    Raises:
        UserError: there is no record.
    """
    checkpoint = checkpoints.named(request["checkpoint"])
    options = {
        "--benchmark-json": request["file"],
        "--qmodels-dataset": checkpoint.dataset,
        "--qmodels-architecture": checkpoint.architecture,
        "--qmodels-width": checkpoint.width,
        "--qmodels-checkpoint": request["checkpoint"],
        "--qmodels-variants": ",".join(request["variants"]),
        "--qmodels-threads": request["threads"],
        "--qmodels-accuracy-images": request["accuracy_images"],
    }
    # What was asked of the pytest that asks, if it is one, is not asked of this one.
    environment = {
        name: value
        for name, value in HERE.environment().items()
        if name != "CI" and not name.startswith("PYTEST_")
    }
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "benches", "-k", "not latency"),
            *("-p", "no:cacheprovider"),  # writes nothing into its folder
            *(f"{name}={value}" for name, value in options.items() if value is not None),
        ],
        cwd=HERE.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        measured = json.loads(Path(request["file"]).read_text(encoding="utf-8"))["benchmarks"]
    except (OSError, ValueError, KeyError):
        measured = []
    if not measured:
        said = finished.stdout.strip() or f"exit status {finished.returncode}"
        raise UserError(f"its benches measured nothing: {said.splitlines()[-1]}")


def main(load: Callable[[Mapping[str, Any]], Mapping[str, Loader]] = stopwatch.load) -> None:
    """Serve one conversation.

    Args:
        load: the models that ``visit`` is about, from the request that loads them.
    """
    watch = Stopwatch()
    requests: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "build": build,
        "measure": measure,
        "load": lambda request: watch.load(load(request), request["threads"]),
        "visit": watch.visit,
    }

    def answer(request: Mapping[str, Any]) -> Any:
        return hello() if "protocol" in request else requests[request["request"]](request)

    child.serve(answer)
