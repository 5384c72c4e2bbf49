"""A copy of the repository to run `pytest benches` in, and faults to plant there."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from qmodels.gate.run import ranks_path, times_path
from qmodels.system import machine

ROOT = Path(__file__).parents[2]
VARIANTS = "--qmodels-variants=fp32,dynamic-int8"
UPDATE = "--qmodels-update-baseline"
PARTIAL = ' "partial": true,\n'
SIZES = '"size_bytes": {"value": '

# Plugins for pytest, each with a fault.
PLANTED = """
from dataclasses import replace
from qmodels.variants import artifact, registry
registry.all_variants()
"""
FATTER = (
    PLANTED
    + """
fp32 = registry._VARIANTS["fp32"]
class WithLabels(type(fp32.backend)):
    def save(self, model, folder):
        super().save(model, folder)
        (folder / "labels.txt").write_text("a class\\n" * 1000)
registry._VARIANTS["fp32"] = replace(fp32, backend=WithLabels().on(fp32.engine))
"""
)
# Each bench of fp32 measures, or ends, as the attempts say.
ATTEMPTS = (
    PLANTED
    + """
size = artifact.Artifact.size_bytes.fget
attempts = list({attempts})
def of_attempt(self):
    attempt = attempts.pop(0) if attempts else "right"
    if attempt == "broken":
        raise ValueError("no such axis")
    return size(self) + 10**9 * (attempt == "fatter")
artifact.Artifact.size_bytes = property(of_attempt)
"""
)
COPYING = (
    PLANTED
    + """
load = artifact.Artifact.load
def copying(self):
    forward = load(self)
    return lambda images: forward(images.clone())
artifact.Artifact.load = copying
"""
)
NOISY = (
    PLANTED
    + """
import torch
load = artifact.Artifact.load
def noisy(self):
    forward = load(self)
    torch.manual_seed(0)
    return lambda images: (logits := forward(images)) + 5 * torch.randn_like(logits)
artifact.Artifact.load = noisy
"""
)
BROKEN_NUMBERS = (
    PLANTED
    + """
import torch
load = artifact.Artifact.load
def broken(self):
    forward = load(self)
    if self.variant.name == "fp32":
        return forward
    def run(images):
        logits = forward(images).clone()
        logits[-1, 3] = float("nan")
        return logits
    return run
artifact.Artifact.load = broken
"""
)
ALONE = (
    PLANTED
    + """
for name in [name for name in registry._VARIANTS if name != "fp32"]:
    del registry._VARIANTS[name]
"""
)
GONE = PLANTED + "registry._VARIANTS.pop('dynamic-int8')\n"
UNBUILDABLE = (
    PLANTED
    + """
def dynamic_int8(model):
    print("tried to build")
    raise ValueError("no such axis")
registry._VARIANTS["dynamic-int8"] = replace(
    registry._VARIANTS["dynamic-int8"], quantize=dynamic_int8
)
"""
)
UNBUILDABLE_FP32 = (
    PLANTED
    + """
def fp32(model):
    raise ValueError("no such axis")
registry._VARIANTS["fp32"] = replace(registry._VARIANTS["fp32"], quantize=fp32)
"""
)
UNFIT = (
    PLANTED
    + """
from qmodels.system.errors import Obstacle
obstacle = Obstacle("it needs a harpsichord", fixable={fixable})
registry._VARIANTS["dynamic-int8"] = replace(
    registry._VARIANTS["dynamic-int8"], unfit=lambda: obstacle
)
"""
)

# In a copy's own code, as a commit would: the processes that take times import it.
FORWARD = "        return partial(forward, artifact.example(batch_size))"
SLOWER = """        images = artifact.example(batch_size)
        if artifact.variant.name in SLOWED:
            return lambda: (forward(images), forward(images))
        return partial(forward, images)"""
OPENED = "    artifact = open_artifact(Path(folder))"
DYING = """    artifact = open_artifact(Path(folder))
    if artifact.variant.name == "dynamic-int8":
        __import__("os").abort()"""

TAKEN = """    started = time.perf_counter()
    forward()
    return time.perf_counter() - started"""
# Seconds that no neighbour of this machine has a part in: by the calls of a forward.
COUNTED = """    import sys

    calls: list[str] = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    forward()
    sys.setprofile(None)
    return 0.001 * (1 + len(calls) / 1000)"""


@dataclass(frozen=True)
class Result:
    """Exit status and everything printed of a pytest run."""

    returncode: int
    stdout: str


Run = Callable[..., Result]


def assert_red(result: Result, *said: str) -> None:
    """The run failed, and said this."""
    assert result.returncode == 1, result.stdout
    for line in said:
        assert line in result.stdout, result.stdout
    assert "Traceback" not in result.stdout


def slowing(repository: Path, *names: str) -> AbstractContextManager[None]:
    """Have models of the copy work twice as much for a while."""
    worker = repository / "qmodels/measure/latency_worker.py"
    return edited(worker, FORWARD, SLOWER.replace("SLOWED", repr(names)))


def dying(repository: Path) -> AbstractContextManager[None]:
    """Have the processes of a model of the copy end while they load it."""
    return edited(repository / "qmodels/measure/latency_worker.py", OPENED, DYING)


def edit(path: Path, old: str, new: str) -> str:
    """Replace a part of a file; returns what was there."""
    whole = path.read_text()
    assert old in whole
    path.write_text(whole.replace(old, new))
    return whole


@contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    """Have a part of a file be another for a while."""
    whole = edit(path, old, new)
    try:
        yield
    finally:
        path.write_text(whole)


@contextmanager
def kept(baseline: Path) -> Iterator[None]:
    """Restore a baseline, and the files beside it, after a while."""
    paths = (baseline, ranks_path(baseline), times_path(baseline))
    files = {path: path.read_bytes() for path in paths}
    try:
        yield
    finally:
        for path, content in files.items():
            path.write_bytes(content)


@contextmanager
def of_another_class(baseline: Path) -> Iterator[Path]:
    """The stored run as if it had been made on the oldest class of this architecture."""
    here = machine.machine_class()
    folder = baseline.parents[1] / f"{here.rpartition('-')[0]}-baseline"
    shutil.copytree(baseline.parent, folder)
    shutil.move(baseline.parent, baseline.parents[1] / "hidden")
    other = folder / baseline.name
    other.write_text(other.read_text().replace(here, folder.name))
    try:
        yield other
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(baseline.parent, ignore_errors=True)  # what was stored meanwhile
        shutil.move(baseline.parents[1] / "hidden", baseline.parent)
