"""What executes variants on this machine: does it work, and do its int8 kernels saturate.

Runtimes other than torch's own kernels are asked in a process of their own: one that is installed
but broken, to the point of an illegal instruction, then costs its variants and nothing else.
"""

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from importlib.util import find_spec
from pathlib import Path

import torch
from packaging.requirements import Requirement

from qmodels import machine, sources, store
from qmodels.child import HERE
from qmodels.errors import UserError
from qmodels.obstacles import Obstacle

# Engines beside torch's own. The module of each in qmodels.runtimes tells whether it saturates, and
# is imported when it is asked: what one needs does not concern the others.
RUNTIMES = ("inductor", "onnxruntime", "openvino", "tensorrt")
# torch's own, and those of them whose kernels are of x86 processors with AVX2.
TORCH_ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")
X86_ENGINES = TORCH_ENGINES[:3]
GPU_ENGINES = ("cuda", "triton", "tensorrt")
PROBE_SECONDS = 120
VERDICT_FILE = "verdict.json"


@dataclass(frozen=True)
class Verdict:
    """What came of asking an engine.

    ``broken`` tells why it does not work, in part of a line; ``saturates`` whether int8
    convolutions give wrong sums at full range (None for engines without int8 kernels).
    """

    broken: str | None
    saturates: bool | None


def saturates(engine: str) -> bool:
    """Whether an engine's int8 convolution gives wrong sums at full range, asked in this process.

    False for engines without int8 kernels.
    """
    if engine in RUNTIMES:
        answer: bool = import_module(f"qmodels.runtimes.{engine}").saturates()
        return answer
    if engine in torch.backends.quantized.supported_engines:
        return machine.int8_saturates(engine)
    return False


def machine_class(engine: str) -> str:
    """What an engine's artifacts and results depend on: the class of the GPU, or of the CPU."""
    if engine in GPU_ENGINES:
        return machine.gpu_class() or "a machine without an NVIDIA GPU"
    return machine.machine_class()


def weight_range(engine: str) -> tuple[int, int]:
    """The lowest and highest int8 weight that an engine multiplies without overflow.

    Seven bits instead of eight where it saturates, so that no pair of products does:
    2 * 255 * 64 fits into int16. torch's way, seven bits for activations, costs twice the noise
    power.
    """
    return (-64, 63) if saturates(engine) else (-128, 127)


@cache
def ask(engine: str, modules: tuple[str, ...] = ()) -> Verdict:
    """Whether an engine works, with the modules that a variant needs, and saturates."""
    known = engine in RUNTIMES or engine in torch.backends.quantized.supported_engines
    if not modules:  # it is torch's own
        return Verdict(None, saturates(engine) if known else None)
    try:
        folder = store.build_folder(
            f"{engine}-probe",
            {
                "engine": engine,
                "modules": {module: installed(module) for module in modules},
                "machine_class": machine.machine_class(),
                "versions": machine.versions(),
                "isa": {name: value for name, value in os.environ.items() if name.endswith("_ISA")},
                "sources": sources.imported(
                    [f"qmodels.runtimes.{engine}", "qmodels.engines"], {"qmodels": HERE.root}
                ),
            },
            lambda folder: in_a_process(engine, modules, folder / VERDICT_FILE),
            root=store.cache_dir("engines"),
        )
    except Broken as error:
        return Verdict(str(error), None)
    return Verdict(**json.loads((folder / VERDICT_FILE).read_text(encoding="utf-8")))


class Broken(UserError):
    """A runtime is installed and does not work; the text tells why in part of a line."""


def in_a_process(engine: str, modules: tuple[str, ...], answer: Path) -> None:
    """Ask in a fresh process, which writes its verdict into a file.

    Raises:
        Broken: it did not live to.
    """
    command = [sys.executable, "-m", "qmodels.engines", str(answer), engine, *modules]
    try:
        child = subprocess.run(
            command,
            cwd=HERE.root,
            env=HERE.environment(),
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"no answer within {PROBE_SECONDS} s") from None
    if child.returncode < 0:
        raise Broken(f"it died of {signal.Signals(-child.returncode).name}")
    if child.returncode or not answer.exists():
        said = child.stderr.strip() or f"exit status {child.returncode}"
        raise Broken(said.splitlines()[-1])


def installed(module: str) -> list[str]:
    """What changes when the package of a module is installed anew: its version, and when."""
    spec = find_spec(module)
    origin = spec.origin if spec else None
    when = str(Path(origin).stat().st_mtime_ns) if origin and Path(origin).exists() else "unknown"
    return [version_of(module), when]


def version_of(module: str) -> str:
    """The version of a package, which for all that are used here has the name of its module."""
    try:
        return version(module)
    except PackageNotFoundError:
        return "unknown"


def unsupported(engine: str) -> Obstacle | None:
    """Why this torch lacks one of its own engines; None where it has it, and for other engines."""
    supported = torch.backends.quantized.supported_engines
    if engine != "none" and (engine not in TORCH_ENGINES or engine in supported):
        return None
    x86 = platform.machine().lower() in ("x86_64", "amd64") and "avx2" in machine.cpu_flags()
    if engine in X86_ENGINES and not x86:
        return Obstacle(
            f"engine {engine} is of x86 processors with AVX2: run it on one", mendable=False
        )
    return Obstacle(
        f"this build of torch has no quantized engine {engine}: install it from PyPI", mendable=True
    )


def wrong_version(modules: Iterable[str], extra: str, of: str | None) -> str | None:
    """The first of some modules whose version a distribution's extra does not allow, with both."""
    if of is None:
        return None
    try:
        wanted = [Requirement(line) for line in requires(of) or []]
    except PackageNotFoundError:  # not installed, but run from its folder
        return None
    for one in wanted:
        applies = one.marker is not None and one.marker.evaluate({"extra": extra})
        if not applies or one.name not in modules:
            continue
        found = version_of(one.name)
        if found != "unknown" and not one.specifier.contains(found, prereleases=True):
            return f"{one.name} {found} is installed, and {one.name}{one.specifier} is needed"
    return None


def versions(modules: Iterable[str]) -> dict[str, str]:
    """Versions of packages, "not installed" where there is none."""
    found = {}
    for module in modules:
        try:
            found[module] = distribution(module).version
        except PackageNotFoundError:
            found[module] = "not installed"
    return found


def main(arguments: list[str]) -> None:
    """In the process of its own: import, compute, write the verdict."""
    answer, engine, *modules = arguments
    for module in modules:
        __import__(module)
    verdict = Verdict(None, saturates(engine))
    store.write_text(Path(answer), json.dumps(asdict(verdict)))


if __name__ == "__main__":
    main(sys.argv[1:])
