"""The environment of timed forwards: threads, gradients, garbage collection, processors."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from qmodels.system.errors import UserError


@contextmanager
def timing_environment(threads: int) -> Iterator[None]:
    """Run torch with a number of threads, without gradients and without garbage collection."""
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


def move_to(cpus: Sequence[int]) -> None:
    """Run all threads of this process on some processors, where the system can do that."""
    tasks = Path("/proc/self/task")
    if not cpus or not hasattr(os, "sched_setaffinity") or not tasks.exists():
        return
    for task in tasks.iterdir():
        with suppress(ProcessLookupError):  # the thread has ended meanwhile
            os.sched_setaffinity(int(task.name), cpus)
