"""Load artifacts, then time forwards of them as told; ``measure.latency`` asks.

Every model lives in a process of its own, forked from this one before it ran anything: what a
runtime sets for a whole process (quantized engine, thread pools, the floating-point unit's modes)
can't reach another model's times, and one that breaks costs no other.
"""

import contextlib
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qmodels.errors import UserError
from qmodels.measure import ceiling
from qmodels.measure.probe import probe
from qmodels.resnet import random_images
from qmodels.runtimes.dispatch import Runnable
from qmodels.variants import Artifact, all_variants

PROBE = "probe"
# What takes longer hangs, even on a busy machine.
LOAD_SECONDS, VISIT_SECONDS = 600.0, 300.0
# Makes a model, in the process that it will run in.
Loader = Callable[[], Runnable]


@contextlib.contextmanager
def quiet(threads: int) -> Iterator[None]:
    """Run torch on a number of threads, without gradients and without garbage collection.

    Raises:
        UserError: the number is less than 1.
    """
    if threads < 1:
        raise UserError(f"{threads} threads can't run a model: choose 1 or more")
    previous = torch.get_num_threads()
    torch.set_num_threads(threads)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with torch.inference_mode():
            yield
    finally:
        if collecting:
            gc.enable()
        torch.set_num_threads(previous)


def timed(forward: Callable[[Tensor], object], images: Tensor) -> float:
    """Seconds of one forward."""
    started = time.perf_counter()
    forward(images)
    return time.perf_counter() - started


def load(request: Mapping[str, Any]) -> dict[str, Loader]:
    """The models of the artifacts in ``request``, a folder for each variant; probe and limits."""
    known = all_variants()

    def artifact(name: str, path: str) -> Loader:
        return lambda: Artifact(known[name], Path(path)).load()

    models = {name: artifact(name, path) for name, path in request["artifacts"].items()}
    return {PROBE: probe, **ceiling.limits(), **models}


def run(
    name: str, loader: Loader, threads: int, pipe: Connection, others: Sequence[Connection]
) -> None:
    """In a model's own process: load it, then serve visits until there are no more.

    Answers: None when it is loaded, then seconds; where something goes wrong the line that tells
    it, and no more.

    Args:
        others: ends of pipes that it has inherited and must not hold open: processes end when the
            one that asks is gone.
    """
    for other in others:
        other.close()
    images: dict[int, Tensor] = {}
    try:
        with quiet(threads):
            forward = loader()
            pipe.send(None)
            while True:
                request = pipe.recv()
                move_to(request["cpus"])
                size = request["batch_size"]
                if size not in images:
                    images[size] = random_images(size)
                for _ in range(request["untimed"]):
                    forward(images[size])
                pipe.send([timed(forward, images[size]) for _ in range(request["timed"])])
    except (EOFError, ConnectionError):
        return
    except Exception as error:  # whatever a runtime raises
        pipe.send(line(name, error))


def line(name: str, error: Exception) -> str:
    """What went wrong with a model, in a line that names it."""
    said = str(error).strip().splitlines() or [""]
    return said[0] if isinstance(error, UserError) else f"{name}: {type(error).__name__}: {said[0]}"


def move_to(cpus: list[int]) -> None:
    """Run all threads of this process on some processors, where the system can do that."""
    tasks = Path("/proc/self/task")
    if not cpus or not hasattr(os, "sched_setaffinity") or not tasks.exists():
        return
    for task in tasks.iterdir():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(task.name), cpus)


@dataclass
class Model:
    """A model in a process of its own, and this end of the pipe to it.

    Attributes:
        wrong: the line that tells what went wrong, once something did.
    """

    name: str
    process: BaseProcess
    pipe: Connection
    wrong: str | None = None

    def ask(self, request: Mapping[str, Any]) -> Any:
        """What it answers, or what went wrong."""
        if self.wrong is None:
            with contextlib.suppress(ConnectionError):  # then it gives no answer either
                self.pipe.send(request)
        return self.answer(time.monotonic(), VISIT_SECONDS)

    def answer(self, since: float, limit: float) -> Any:
        """What it says within some seconds since then; later it ends, and that is what is wrong."""
        if self.wrong is not None:
            return self.wrong
        found: Any = f"{self.name} gave no answer within {limit:g} s"
        try:
            if self.pipe.poll(max(0.0, since + limit - time.monotonic())):
                found = self.pipe.recv()
        except (EOFError, ConnectionError):
            found = f"{self.name} died: its runtime may be broken, see `qmodels doctor`"
        if isinstance(found, str):
            self.wrong = found
            self.process.kill()
        return found


def start(name: str, loader: Loader, threads: int, started: Sequence[Model]) -> Model:
    """Start a model's process, after others."""
    kinds = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("fork" if "fork" in kinds else "spawn")
    here, there = context.Pipe()
    inherited = [*(model.pipe for model in started), here]
    process = context.Process(
        target=run, args=(name, loader, threads, there, inherited), daemon=True
    )
    process.start()
    there.close()
    return Model(name, process, here)


class Stopwatch:
    """Models by name, which it loads and then visits."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}

    def load(self, loaders: Mapping[str, Loader], threads: int) -> dict[str, str | None]:
        """Load models; of each None, or the line that tells what went wrong."""
        # All at once: loading takes longer than anything else here.
        for name, loader in loaders.items():
            self.models[name] = start(name, loader, threads, list(self.models.values()))
        started = time.monotonic()
        return {name: model.answer(started, LOAD_SECONDS) for name, model in self.models.items()}

    def visit(self, request: Mapping[str, Any]) -> list[float] | str:
        """Seconds of forwards, or the line that tells what went wrong.

        Args:
            request: the ``model``, ``batch_size``, how many forwards to run ``untimed`` and then
                ``timed``, and on which ``cpus``.
        """
        found: list[float] | str = self.models[request["model"]].ask(request)
        return found
