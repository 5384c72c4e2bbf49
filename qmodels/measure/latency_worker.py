"""Load models and time their forwards as told; ``measure.latency`` asks.

Every model lives in a process of its own, forked from this one before it ran anything. What a
runtime sets for its process (quantized engine, thread pools, the floating-point unit's modes) can't
reach another model's times, and one that breaks costs no other. This process imports no backend: a
model's process imports that of its artifact.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from qmodels.backends.base import ForwardFn, time_forward
from qmodels.measure import timing
from qmodels.measure.probe import probe
from qmodels.system import codec, forked
from qmodels.system.errors import failure_line
from qmodels.system.forked import Fork, Pipe
from qmodels.system.worker import WorkerError
from qmodels.variants.artifact import open_artifact

PROBE = "probe"
# What takes longer hangs, even on a busy machine.
_LOAD_SECONDS, VISIT_SECONDS = 600.0, 300.0

# A model that has its images: by batch size, what runs a forward.
Forwards = Callable[[int], Callable[[], object]]
# Makes a model, in the process that it will run in.
Loader = Callable[[], Forwards]


@dataclass(frozen=True)
class _LoadRequest:
    artifacts: Mapping[str, str]


@dataclass(frozen=True)
class VisitRequest:
    """The numbers of ``untimed`` and of ``timed`` forwards of a model, and their processors."""

    model: str
    batch_size: int
    untimed: int
    timed: int
    cpus: tuple[int, ...]


def load(request: Mapping[str, Any]) -> dict[str, Loader]:
    """Loaders by name: of the probe, and of a ``_LoadRequest``."""
    artifacts = codec.decode(_LoadRequest, request).artifacts
    return {
        PROBE: partial(_without_images, probe),
        **{name: partial(_load_artifact, path) for name, path in artifacts.items()},
    }


def _load_artifact(folder: str) -> Forwards:
    artifact = open_artifact(Path(folder))
    forward = artifact.load()

    def forward_of(batch_size: int) -> Callable[[], object]:
        return partial(forward, artifact.example(batch_size))

    return forward_of


def _without_images(make: Callable[[], ForwardFn]) -> Forwards:
    """A model that looks at no images: its forwards are the same for every batch size."""
    forward = partial(make(), torch.empty(0))
    return lambda batch_size: forward


def _serve(name: str, loader: Loader, threads: int, pipe: Pipe) -> None:
    """In a model's own process: load it, then serve visits until there are no more.

    Sends None when the model is loaded, then seconds; a line if something fails, and nothing more.
    """
    try:
        with timing.timing_environment(threads):
            forward_of = cache(loader())
            pipe.send(None)
            while True:
                request: VisitRequest = pipe.recv()
                timing.move_to(request.cpus)
                forward = forward_of(request.batch_size)
                for _ in range(request.untimed):
                    forward()
                pipe.send([time_forward(forward) for _ in range(request.timed)])
    except (EOFError, ConnectionError):  # the process that asks has ended
        return
    except Exception as error:  # whatever a runtime raises
        pipe.send(failure_line(name, error))


class ModelProcesses:
    """Models by name, each in a process of its own.

    One that failed is not asked again: the line of its failure answers for it.
    """

    def __init__(self) -> None:
        self.forks: dict[str, Fork] = {}
        self.failures: dict[str, str] = {}

    def load(self, loaders: Mapping[str, Loader], threads: int) -> dict[str, str | None]:
        """Load models, all at once: it takes longer than anything else here.

        Returns:
            By name None, or the line of its failure.
        """
        started = time.monotonic()
        for name, loader in loaders.items():
            self.forks[name] = forked.start(name, partial(_serve, name, loader, threads))
        return {name: self.answer(name, _LOAD_SECONDS, since=started) for name in loaders}

    def visit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """``seconds`` of each timed forward, or the line of the model's ``failure``."""
        asked = codec.decode(VisitRequest, request)
        name = asked.model
        if name not in self.failures:
            self.forks[name].send(asked)
        answer = self.answer(name, VISIT_SECONDS)
        return {"failure" if isinstance(answer, str) else "seconds": answer}

    def answer(self, name: str, timeout: float, *, since: float | None = None) -> Any:
        """The next message of a model's process, or its failure; see ``Fork.receive``."""
        if name not in self.failures:
            try:
                answer = self.forks[name].receive(timeout, since=since)
            except WorkerError as error:
                answer = f"{error}: its runtime may be broken, see `qmodels doctor`"
            if not isinstance(answer, str):
                return answer
            self.failures[name] = answer
            self.forks[name].end()
        return self.failures[name]
