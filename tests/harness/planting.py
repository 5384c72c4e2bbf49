"""A copy of the repository to run `pytest benches` in, and faults to plant there."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qmodels.gate.run import ranks_path, times_path
from qmodels.system import machine

ROOT = Path(__file__).parents[2]
VARIANTS = "--qmodels-variants=fp32,planted"
UPDATE = "--qmodels-update-baseline"
SIZES = '"size_bytes": {"value": '
ESCAPE = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")  # of a terminal's colours and cursor

# A copy of the repository has these variants, in a module as a user adds one.
VARIANTS_FILE = """
import os
import torch
from qmodels.backends.eager import Eager
from qmodels.system.errors import Obstacle
from qmodels.variants.registry import variant


class Planted(Eager):
    name = "planted"
{methods}


def unfit():
    return {obstacle}


@variant(backend={reference}(), summary="the model itself")
def fp32(model):
    {quantize_reference}
    return model
"""
PLANTED_FUNCTION = """

@variant(backend=Planted(), summary="the model itself, or a fault", unfit=unfit)
def planted(model):
    {quantize}
    return model
"""


def variants_file(
    methods: str = "",
    *,
    quantize: str = "pass",
    quantize_reference: str = "pass",
    reference: str = "Eager",
    obstacle: str = "None",
    names: Sequence[str] = ("planted",),
) -> str:
    """A module with fp32 and other variants, which behave as fp32 does but for a fault.

    Args:
        methods: of the backend of the others.
        quantize, quantize_reference: the statement that each runs on its model.
        reference: fp32's backend, ``Eager`` or ``Planted``.
        obstacle: why the others can't run here, as an expression.
        names: of the others.
    """
    parts = [
        VARIANTS_FILE.format(
            methods=methods,
            obstacle=obstacle,
            reference=reference,
            quantize_reference=quantize_reference,
        )
    ]
    for name in names:
        parts.append(PLANTED_FUNCTION.replace("planted(model)", f"{name}(model)"))
        parts[-1] = parts[-1].format(quantize=quantize)
    return "".join(parts)


def loading(body: str) -> str:
    """A backend's method: ``body`` gives a forward from the right one."""
    return f"""
    def load(self, artifact):
        forward = super().load(artifact)
        {body}
"""


PLAIN = variants_file()
GONE = variants_file(names=())
FATTER = variants_file(
    """
    def save(self, model, folder):
        super().save(model, folder)
        (folder / "labels.txt").write_text("a class\\n" * 1000)
"""
)
COPYING = variants_file(loading("return lambda images: forward(images.clone())"))
NOISE = "lambda images: (logits := forward(images)) + 5 * torch.randn_like(logits)"
NOISY = variants_file(loading(f"torch.manual_seed(0); return {NOISE}"))
BROKEN_NUMBERS = variants_file(
    loading(
        """
        def run(images):
            logits = forward(images).clone()
            logits[-1, 3] = float("nan")
            return logits
        return run
"""
    )
)
SLOWER = loading("return lambda images: [forward(images) for _ in range(5)][-1]")
DYING = variants_file(loading("os.abort()"))
FAILING = "raise ValueError('no such axis')"
UNBUILDABLE = variants_file(quantize=f"print('tried to build'); {FAILING}")
UNBUILDABLE_FP32 = variants_file(quantize_reference=FAILING)
# Each attempt to load is as the list says, then right.
ATTEMPTS = """
    attempts = {attempts}

    def load(self, artifact):
        forward = super().load(artifact)
        attempt = self.attempts.pop(0) if self.attempts else "right"
        if attempt == "broken":
            raise ValueError("no such axis")
        return ({noise}) if attempt == "noisy" else forward
"""

# A plugin for pytest: a few short processes are enough here.
SHORT = """
from qmodels.gate import latency as gated, sequential
from qmodels.measure import latency
latency.BUDGET_SECONDS = 0.2
gated.STORED_PROCESSES = 2
sequential.SCREEN = sequential.Stage(first=1, most=1, alpha=1 / 16)
sequential.CONFIRM = sequential.Stage(first=1, most=1, alpha=1 / 32)
"""


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


def plant(repository: Path, variants: str) -> None:
    """Have a checkout of the copy's code define these variants."""
    (repository / "qmodels" / "variants" / "planted.py").write_text(variants)


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
