"""Run as a process of its own: load artifacts, then time forwards of them as told.

The first request says what to load and how to run it, each further one which model to run how
often; see ``measure.latency``, which asks.

Every model lives in a process of its own, forked from this one before it ran anything: what a
runtime sets for a whole process (quantized engine, thread pools, the floating-point unit's modes)
can't reach another model's times.
"""

import contextlib
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qmodels import child
from qmodels.errors import UserError
from qmodels.measure import ceiling
from qmodels.measure.probe import probe
from qmodels.resnet import random_images
from qmodels.runtimes.dispatch import Runnable
from qmodels.variants import Artifact, all_variants

PROBE = "probe"
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


def run(loader: Loader, threads: int, pipe: Connection, others: Sequence[Connection]) -> None:
    """In a model's own process: load it, then serve visits until there are no more.

    Answers: None when it is loaded, else what went wrong; then seconds.

    Args:
        others: ends of pipes that it has inherited and must not hold open: processes end when the
            one that asks is gone.
    """
    for other in others:
        other.close()
    images: dict[int, Tensor] = {}
    with quiet(threads):
        try:
            forward = loader()
        except UserError as error:
            pipe.send(str(error))
            return
        pipe.send(None)
        while True:
            try:
                request = pipe.recv()
            except EOFError:
                return
            move_to(request["cpus"])
            size = request["batch_size"]
            if size not in images:
                images[size] = random_images(size)
            for _ in range(request["untimed"]):
                forward(images[size])
            pipe.send([timed(forward, images[size]) for _ in range(request["timed"])])


def move_to(cpus: list[int]) -> None:
    """Run all threads of this process on some processors, where the system can do that."""
    tasks = Path("/proc/self/task")
    if not cpus or not hasattr(os, "sched_setaffinity") or not tasks.exists():
        return
    for task in tasks.iterdir():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(task.name), cpus)


def start(loader: Loader, threads: int, started: Sequence[Connection]) -> Connection:
    """Start a model's process, after others; returns this end of the pipe to it."""
    kinds = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("fork" if "fork" in kinds else "spawn")
    here, there = context.Pipe()
    inherited = [*started, here]
    context.Process(target=run, args=(loader, threads, there, inherited), daemon=True).start()
    there.close()
    return here  # type: ignore[no-any-return]


def heard(name: str, pipe: Connection) -> Any:
    """What a model's process answers.

    Raises:
        UserError: it died.
    """
    try:
        return pipe.recv()
    except (EOFError, ConnectionError):
        raise UserError(
            f"{name} died while it ran: its runtime may be broken, see `qmodels doctor`"
        ) from None


def main(load: Callable[[Mapping[str, Any]], Mapping[str, Loader]]) -> None:
    """Serve one set of models.

    Requests: first ``threads`` and what ``load`` wants; then ``model``, ``batch_size``, how many
    forwards to run ``untimed`` and then ``timed``, and on which ``cpus``. Answers: nothing, then
    seconds.
    """
    pipes: dict[str, Connection] = {}

    def answer(request: Mapping[str, Any]) -> Any:
        if not pipes:
            # All at once: loading takes longer than anything else here.
            for name, loader in load(request).items():
                pipes[name] = start(loader, request["threads"], list(pipes.values()))
            for name, pipe in pipes.items():
                wrong = heard(name, pipe)
                if wrong is not None:
                    raise UserError(wrong)
            return []
        pipe = pipes[request["model"]]
        pipe.send(request)
        return heard(request["model"], pipe)

    child.serve(answer)


if __name__ == "__main__":
    main(load)
