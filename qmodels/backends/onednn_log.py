"""Kernels and times from oneDNN's own log of a forward.

Compiled code calls oneDNN past torch's dispatcher, so nothing else shows its kernels. The format:
https://uxlfoundation.github.io/oneDNN/dev_guide_verbose.html
"""

import ctypes
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import IO

import torch
from torch import Tensor

from qmodels.backends.base import UNTIMED, ForwardFn, Kernel, ProfiledForward, Step, time_forward
from qmodels.network.layers import Layer, assign

# With it each line says when its primitive began. oneDNN reads it once, when it first logs.
ENVIRONMENT = {"ONEDNN_VERBOSE_TIMESTAMP": "1"}
# What begins the log of a forward.
_BEGIN = b"qmodels begins a forward"
_EXECUTED = re.compile(
    r"^onednn_verbose,(?:v\d+,)?(?:(?P<began>[\d.]+),)?primitive,exec,cpu,"
    r"(?P<kind>[^,]+),(?P<implementation>[^,]+),[^,]*,"
    r"(?P<tensors>[^,]*),[^,]*,[^,]*,(?P<problem>[^,]+),(?P<elapsed>[^,]+)"
)
_CONVOLVED = re.compile(
    r"(?:g(?P<g>\d+))?mb(?P<mb>\d+)_ic(?P<ic>\d+)oc(?P<oc>\d+)_ih\d+oh(?P<oh>\d+)kh(?P<kh>\d+).*"
    r"_iw\d+ow(?P<ow>\d+)kw(?P<kw>\d+)"
)


@dataclass(frozen=True)
class Primitive:
    """A line of the log.

    Attributes:
        problem: its shapes, as the log has them.
        weight: the shape of what it multiplied by, (out, in / groups, ...); None where it
            multiplied nothing, or convolved in other than two dimensions.
        outputs: how many values it gave, of all images; 0 where it multiplied nothing.
        began: in seconds since 1970; None where the log does not say.
    """

    operation: str
    problem: str
    weight: tuple[int, ...] | None
    outputs: int
    int8: bool
    began: float | None
    seconds: float

    @property
    def macs(self) -> int:
        """Multiply-accumulates; 0 where it multiplied nothing."""
        return 0 if self.weight is None else self.outputs * prod(self.weight[1:])


def kernels(forward: ForwardFn, images: Tensor) -> list[Kernel]:
    """The primitives of the second of two forwards that multiplied: the first one sets up."""
    with torch.inference_mode():
        forward(images)
        lines = logged(lambda: forward(images))
    return [
        Kernel(each.problem, each.operation, each.macs, each.int8)
        for each in primitives(lines)
        if each.weight is not None
    ]


def profile(
    forward: ForwardFn, layers: Sequence[Layer], images: Tensor, forwards: int
) -> list[ProfiledForward]:
    """The primitives of forwards; see ``Backend.profile``."""
    spans: list[tuple[float, float]] = []

    def run() -> None:
        libc = ctypes.CDLL(None)
        for _ in range(forwards):
            libc.puts(_BEGIN)  # into the stream that oneDNN logs to
            started = time.time()  # noqa: TID251  (oneDNN's log has times of this clock)
            spans.append((started, time_forward(lambda: forward(images))))

    with torch.inference_mode():
        for _ in range(UNTIMED):
            forward(images)
        _, *logs = "\n".join(logged(run)).split(_BEGIN.decode())
    return [
        ProfiledForward(seconds, tuple(_steps(primitives(log.splitlines()), layers, started)))
        for (started, seconds), log in zip(spans, logs, strict=True)
    ]


def _steps(ran: Sequence[Primitive], layers: Sequence[Layer], started: float) -> Iterator[Step]:
    names = iter(assign((each.weight for each in ran if each.weight is not None), layers))
    end = 0.0
    for each in ran:
        start = end if each.began is None else max(0.0, each.began - started)
        end = start + each.seconds
        layer = None if each.weight is None else next(names)
        yield Step(layer, each.operation, start, each.seconds)


def logged(run: Callable[[], object]) -> list[str]:
    """The lines that oneDNN logged while a function ran."""
    with tempfile.TemporaryFile() as log:
        with _output_to(log), torch.backends.mkldnn.verbose(1):
            run()
        log.seek(0)
        return log.read().decode(errors="replace").splitlines()


def primitives(lines: Sequence[str]) -> list[Primitive]:
    """The primitives that oneDNN executed, in that order."""
    return [primitive for line in lines if (primitive := read(line)) is not None]


def read(line: str) -> Primitive | None:
    """The primitive in a line of the log; None if the line is about something else."""
    match = _EXECUTED.match(line)
    if match is None:
        return None
    weight, outputs = _product(match["kind"], match["problem"])
    tensors = match["tensors"]
    return Primitive(
        f"{match['kind']} {match['implementation']}",
        match["problem"],
        weight,
        outputs,
        bool(re.search(r"src:[us]8", tensors)) and "wei:s8" in tensors,
        1e-3 * float(match["began"]) if match["began"] else None,
        1e-3 * float(match["elapsed"]),
    )


def _product(kind: str, problem: str) -> tuple[tuple[int, ...] | None, int]:
    """The shape of the weight of a primitive, and how many outputs it has; None and 0 of others."""
    if kind == "matmul":  # as 1x512:512x100
        left, right = (side.split("x") for side in problem.split(":")[:2])
        return (int(right[-1]), int(right[-2])), prod(map(int, left[:-1])) * int(right[-1])
    if kind == "inner_product":  # as mb1ic512oc100
        images, inputs, channels, *_ = map(int, re.findall(r"\d+", problem))
        return (channels, inputs), images * channels
    match = _CONVOLVED.search(problem) if kind == "convolution" else None
    if match is None:
        return None, 0
    sizes = {name: int(size or 1) for name, size in match.groupdict().items()}
    weight = (sizes["oc"], sizes["ic"] // sizes["g"], sizes["kh"], sizes["kw"])
    return weight, sizes["mb"] * sizes["oc"] * sizes["oh"] * sizes["ow"]


@contextmanager
def _output_to(file: IO[bytes]) -> Iterator[None]:
    """Send what C code prints to a file while the block lasts."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    saved = os.dup(1)
    try:
        os.dup2(file.fileno(), 1)
        yield
    finally:
        libc.fflush(None)
        os.dup2(saved, 1)
        os.close(saved)
