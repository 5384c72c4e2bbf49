"""A user's repository with a variant of its own, and faults to plant in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UPDATE = "--qmodels-update-baseline"
SIZES = '"size_bytes": {"value": '

VARIANTS_FILE = """
import os
import torch
from qmodels.backends.eager import Eager
from qmodels.system.errors import Obstacle
from qmodels.variants import variant


class Planted(Eager):
    name = "planted"
{methods}


BACKEND = Planted()


def unfit():
    return {obstacle}
"""
FUNCTION = """

@variant(backend=BACKEND, summary="the model itself, or a fault", unfit=unfit)
def {name}(model):
    {quantize}
    return model
"""


def variants_file(
    methods: str = "",
    *,
    quantize: str = "pass",
    obstacle: str = "None",
    names: Sequence[str] = ("planted",),
) -> str:
    """A module with variants that behave as fp32 does but for a fault.

    Args:
        methods: of their backend.
        quantize: the statement that each runs on its model.
        obstacle: why they can't run here, as an expression.
    """
    head = VARIANTS_FILE.format(methods=methods, obstacle=obstacle)
    return head + "".join(FUNCTION.format(name=name, quantize=quantize) for name in names)


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
SLOWER = variants_file(loading("return lambda images: [forward(images) for _ in range(3)][-1]"))
DYING = variants_file(loading("os.abort()"))
FAILING = "raise ValueError('no such axis')"
UNBUILDABLE = variants_file(quantize=f"print('tried to build'); {FAILING}")
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
from qmodels.gate import sequential
from qmodels.measure import latency
latency.BUDGET_SECONDS = 0.2
sequential.STORED_PROCESSES = 2
sequential.SCREEN = sequential.Stage(first=1, most=1, alpha=1 / 16)
sequential.CONFIRM = sequential.Stage(first=1, most=1, alpha=1 / 32)
"""
# For latencies of so few processes.
TOLERANCES = """
[latency_change]
tolerance = 1.0
[latency_ratio]
tolerance = 1.0
other_host = 1.0
[probe_ratio.variants.fp32]
tolerance = 1.0
other_host = 1.0
[memory_bytes]
tolerance = 0.03
other_host = 0.2
"""


@dataclass(frozen=True)
class Result:
    """Exit status and everything printed of a pytest run."""

    status: int
    printed: str


def assert_red(result: Result, *said: str) -> None:
    """The run failed, and said this."""
    assert result.status == 1, result.printed
    for line in said:
        assert line in result.printed, result.printed
    assert "Traceback" not in result.printed


def edit(path: Path, old: str, new: str) -> None:
    """Replace a part of a file."""
    whole = path.read_text()
    assert old in whole
    path.write_text(whole.replace(old, new))
