"""Latency of one forward, and its ratio to fp32 timed in turn.

Absolute times drift by a third within minutes on shared machines; what two models do to each other
in turn does not. Rounds go A B A B … A: each time of the variant is held against the geometric
mean of the fp32 times right before and after it, which cancels what drifts linearly.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmodels.errors import UserError
from qmodels.metric import Metric, measured
from qmodels.variants.formats import Runnable

WARMUP_SECONDS = 0.5
BUDGET_SECONDS = 3.0
LEAST_ROUNDS, MOST_ROUNDS = 20, 200
BOOTSTRAP_SAMPLES = 2000


@contextmanager
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


def timed(forward: Runnable, images: Tensor) -> float:
    """Seconds of one forward."""
    started = time.perf_counter()
    forward(images)
    return time.perf_counter() - started


def plan_rounds(pair: Callable[[], object]) -> int:
    """Warm up, until a profiling just-in-time compiler has settled, and say how many rounds fit.

    Args:
        pair: runs the variant and fp32 once each.
    """
    started = time.perf_counter()
    durations: list[float] = []
    while time.perf_counter() - started < WARMUP_SECONDS or len(durations) < 5:
        before = time.perf_counter()
        pair()
        durations.append(time.perf_counter() - before)
    rounds = int(BUDGET_SECONDS / float(np.median(durations)))
    return max(LEAST_ROUNDS, min(MOST_ROUNDS, rounds))


def metrics(variant: Sequence[float], reference: Sequence[float]) -> dict[str, Metric]:
    """Median latency in milliseconds, and the median ratio with a bootstrap interval.

    Args:
        variant: seconds of each of N rounds.
        reference: seconds of fp32, N + 1 of them: before each round, and after the last.
    """
    times = np.asarray(variant)
    around = np.asarray(reference)
    log_ratios = np.log(times) - (np.log(around[:-1]) + np.log(around[1:])) / 2
    low, high = bootstrap_median(log_ratios)
    return {
        "latency_ms": measured("latency_ms", 1e3 * float(np.median(times))),
        "latency_ratio": measured(
            "latency_ratio",
            float(np.exp(np.median(log_ratios))),
            (float(np.exp(low)), float(np.exp(high))),
        ),
    }


def bootstrap_median(samples: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of a median (Efron, 1979)."""
    generator = np.random.default_rng(0)
    drawn = generator.choice(samples, size=(BOOTSTRAP_SAMPLES, len(samples)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)
