"""Run as a process of its own: load artifacts, then time forwards of them as told.

The first request says what to load and how to run it, each further one which model to run how
often; see ``measure.latency``, which asks.
"""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qmodels import child
from qmodels.errors import UserError
from qmodels.measure.probe import probe
from qmodels.resnet import random_images
from qmodels.variants import Artifact, all_variants
from qmodels.variants.formats import Runnable

PROBE = "probe"


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


def load(request: Mapping[str, Any]) -> dict[str, Runnable]:
    """The models of the artifacts in ``request``, a folder for each variant, and the probe."""
    known = all_variants()
    models = {
        name: Artifact(known[name], Path(path)).load()
        for name, path in request["artifacts"].items()
    }
    return {PROBE: probe(), **models}


def main(load: Callable[[Mapping[str, Any]], Mapping[str, Runnable]]) -> None:
    """Serve one set of models.

    Requests: first ``threads`` and what ``load`` wants; then ``model``, ``batch_size``, how many
    forwards to run ``untimed`` and then ``timed``, and on which ``cpus``. Answers: nothing, then
    seconds.
    """
    models: dict[str, Runnable] = {}
    images: dict[int, Tensor] = {}
    with contextlib.ExitStack() as stack:

        def answer(request: Mapping[str, Any]) -> list[float]:
            if not models:
                stack.enter_context(quiet(request["threads"]))
                models.update(load(request))
                return []
            if hasattr(os, "sched_setaffinity") and request["cpus"]:
                os.sched_setaffinity(0, request["cpus"])
            size = request["batch_size"]
            if size not in images:
                images[size] = random_images(size)
            forward = models[request["model"]]
            for _ in range(request["untimed"]):
                forward(images[size])
            return [timed(forward, images[size]) for _ in range(request["timed"])]

        child.serve(answer)


if __name__ == "__main__":
    main(load)
