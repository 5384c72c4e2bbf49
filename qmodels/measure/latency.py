"""Latency of forwards, in fresh processes and in turn.

Absolute times drift by a third within minutes on shared machines. So models take turns: every
round visits each, in an order that reverses from one round to the next (A B B A), and drift hits
all of them alike. To compare two checkouts, a process of each is alive at a time, and visits to the
same model of both are adjacent. A neighbour's use of the caches slows some models three times as
much as others; it then hits both.

All processes load their models at the same time. The process that loads first gets the pages that
were freed last, which are scattered in physical memory. A process that loads later gets contiguous
pages and is faster: by 6 % in 20 pairs of unchanged ``openvino-int8``.

A visit begins with forwards that are not timed. Otherwise the caches that the previous model left
would decide: a time would depend on what else is measured, by a fifth for the smallest model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qmodels.system import machine
from qmodels.system.errors import UserError
from qmodels.system.worker import Worker

# Of a process for each batch size, all models together.
BUDGET_SECONDS = 1.0
LEAST_ROUNDS, MOST_ROUNDS = 6, 100
# Of a visit. Small models are the noisy ones, and get more forwards.
_UNTIMED_SECONDS, _TIMED_SECONDS = 0.002, 0.006
_LEAST_TIMED, _MOST_TIMED = 2, 12
# A profiling just-in-time compiler replaces its code during the first passes.
_WARMUP_PASSES, _MOST_WARMUP_PASSES = 4, 40
_STEADY = 0.05
# Memory that glibc hands back to the system costs page faults in the next forward. How many depends
# on what else the process has allocated. A forward of eight images varied by 7 % without these
# settings, and by 1.3 % with them. Other allocators ignore them.
STEADY_HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Times:
    """Times of models.

    Attributes:
        processes: for each, seconds by model and batch size: an array (rounds, forwards of a
            visit). A model that failed is in none of them.
        failures: by model, the line that says what went wrong.
    """

    processes: tuple[dict[tuple[str, int], Seconds], ...]
    failures: dict[str, str]


class ModelFailure(UserError):
    """A model failed in one of the processes; the text is the line of its failure."""

    def __init__(self, model: str, line: str) -> None:
        super().__init__(line)
        self.model = model


@dataclass(frozen=True)
class Visit:
    """The numbers of untimed and of timed forwards of a model in a round."""

    untimed: int
    timed: int


@dataclass(frozen=True)
class Visited:
    """The answer of a visit: seconds of each timed forward, or the line of the failure."""

    seconds: tuple[float, ...] = ()
    failure: str | None = None


def cpus_of_turn(turn: int, threads: int) -> list[int]:
    """The processors of a turn: as many as threads; successive turns use all in rotation."""
    usable = machine.usable_cpus()
    if not usable:
        return []
    first = turn * threads
    return sorted({usable[(first + index) % len(usable)] for index in range(threads)})


def time_models(
    workers: Sequence[Worker],
    requests: Sequence[Mapping[str, Any]],
    models: Mapping[int, Sequence[str]],
    threads: int,
) -> Times:
    """Time models of fresh processes, all in turn.

    Args:
        workers: with ``STEADY_HEAP`` in their environment.
        requests: what each loads, without ``threads``.
        models: by batch size, names of variants, of the probe, or of what else they serve.

    Raises:
        UserError: a process failed.
    """
    failures: dict[str, str] = {}
    times: list[dict[tuple[str, int], Seconds]] = [{} for _ in workers]
    for lines in load(workers, [{**request, "threads": threads} for request in requests]):
        failures |= {name: line for name, line in lines.items() if line is not None}
    for size, names in models.items():
        rounds_of_workers = time_working(workers, names, size, threads, failures)
        for of_process, rounds in zip(times, rounds_of_workers, strict=True):
            of_process |= {(name, size): np.asarray(rows) for name, rows in rounds.items()}
    working = [
        {key: seconds for key, seconds in of_process.items() if key[0] not in failures}
        for of_process in times
    ]
    return Times(tuple(working), failures)


def load(
    workers: Sequence[Worker], requests: Sequence[Mapping[str, Any]]
) -> list[dict[str, str | None]]:
    """Load the models of all workers at the same time: see the module's docstring.

    Returns:
        For each worker, by model None, or the line of its failure.
    """
    for worker, request in zip(workers, requests, strict=True):
        worker.send({"request": "load", **request})
    return [worker.receive(dict[str, str | None]) for worker in workers]


def time_working(
    workers: Sequence[Worker],
    models: Sequence[str],
    batch_size: int,
    threads: int,
    failures: dict[str, str],
) -> list[dict[str, list[list[float]]]]:
    """As ``time_in_turn``, without models that fail: the others are timed once more.

    Args:
        failures: by model; those that failed before are left out, and new ones are added.
    """
    while working := [name for name in models if name not in failures]:
        try:
            return time_in_turn(workers, working, batch_size, threads)
        except ModelFailure as error:
            failures[error.model] = str(error)
    return [{} for _ in workers]


def time_in_turn(
    workers: Sequence[Worker], models: Sequence[str], batch_size: int, threads: int
) -> list[dict[str, list[list[float]]]]:
    """Visit every model of every worker, round by round; as many rounds as the budget allows.

    Returns:
        For each worker, seconds by model: a list for each round.

    Raises:
        ModelFailure: a model failed.
    """
    visits, rounds = plan(warm_up(workers, models, batch_size, threads))
    seconds: list[dict[str, list[list[float]]]] = [{name: [] for name in models} for _ in workers]
    order = list(zip(workers, seconds, strict=True))
    for turn in range(rounds):
        cpus = cpus_of_turn(turn // 2, threads)
        for name in models:
            for worker, by_model in order:
                by_model[name].append(_visit(worker, name, batch_size, visits[name], cpus))
        order.reverse()
    return seconds


def _visit(
    worker: Worker, model: str, batch_size: int, forwards: Visit, cpus: Sequence[int]
) -> list[float]:
    answer = worker.ask(
        Visited,
        {
            "request": "visit",
            "model": model,
            "batch_size": batch_size,
            "untimed": forwards.untimed,
            "timed": forwards.timed,
            "cpus": cpus,
        },
    )
    if answer.failure is not None:
        raise ModelFailure(model, answer.failure)
    return list(answer.seconds)


def warm_up(
    workers: Sequence[Worker], models: Sequence[str], batch_size: int, threads: int
) -> dict[str, float]:
    """Run all models until a pass takes about as long as those before.

    Returns:
        By model, seconds of its last passes in the first worker.
    """
    once = Visit(0, 1)
    passes: list[list[list[float]]] = []

    def total(some_passes: list[list[list[float]]]) -> float:
        return float(np.median(np.sum(some_passes, axis=(1, 2))))

    while len(passes) < _MOST_WARMUP_PASSES:
        cpus = cpus_of_turn(len(passes), threads)
        passes.append(
            [
                [_visit(worker, name, batch_size, once, cpus)[0] for worker in workers]
                for name in models
            ]
        )
        before, now = passes[-2 * _WARMUP_PASSES : -_WARMUP_PASSES], passes[-_WARMUP_PASSES:]
        if len(before) == _WARMUP_PASSES and abs(total(now) / total(before) - 1) < _STEADY:
            break
    steady = np.median(passes[-_WARMUP_PASSES:], axis=0)[:, 0]
    return dict(zip(models, steady.tolist(), strict=True))


def plan(seconds: Mapping[str, float]) -> tuple[dict[str, Visit], int]:
    """The visit to each model, and how many rounds of all of them the budget allows."""
    visits = {
        name: Visit(
            untimed=math.ceil(_UNTIMED_SECONDS / forward),
            timed=max(_LEAST_TIMED, min(_MOST_TIMED, round(_TIMED_SECONDS / forward))),
        )
        for name, forward in seconds.items()
    }
    one_round = sum(
        seconds[name] * (planned.untimed + planned.timed) for name, planned in visits.items()
    )
    even = int(BUDGET_SECONDS / one_round) // 2 * 2
    return visits, max(LEAST_ROUNDS, min(MOST_ROUNDS, even))


def log_ratio(seconds: Seconds, reference: Seconds) -> float:
    """Median over rounds of the logarithm of the ratio of two models that took turns.

    The fastest forward of each visit counts: interruptions only add time.

    Args:
        seconds, reference: (rounds, forwards of a visit), each with its own number of forwards.
    """
    ratios = np.log(np.min(seconds, axis=1)) - np.log(np.min(reference, axis=1))
    return float(np.median(ratios))
