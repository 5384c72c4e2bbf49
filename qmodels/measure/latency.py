"""Latency of forwards, in fresh processes and in turn.

Absolute times drift by a third within minutes on shared machines. So models take turns: every
round visits each, in an order that is turned round from one round to the next (A B B A), and what
drifts hits all of them alike. Where two checkouts are compared, a process of each is alive at a
time, and every visit to a model of the one is beside a visit to the same model of the other: what
a neighbour does to the caches, which slows some models three times as much as others, hits both.

A visit begins with forwards that are not timed. Otherwise the caches that the model before left
behind would decide, and a time would depend on what else is measured (by a fifth, for the
smallest).
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from qmodels import protocol
from qmodels.child import Checkout, Child
from qmodels.errors import UserError

# For each batch size and process, all models together.
BUDGET_SECONDS = 1.0
LEAST_ROUNDS, MOST_ROUNDS = 6, 100
# Of a visit: small models are the noisy ones, and get more forwards.
UNTIMED_SECONDS, TIMED_SECONDS = 0.002, 0.006
LEAST_TIMED, MOST_TIMED = 2, 12
# A just-in-time compiler that profiles changes its mind in the first passes.
WARMUP_PASSES, MOST_WARMUP_PASSES = 4, 40
STEADY = 0.05

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """What one process runs: its code, what it is asked to load, and the command that serves."""

    checkout: Checkout
    request: Mapping[str, Any]
    command: tuple[str, ...] = protocol.COMMAND


@dataclass(frozen=True)
class Times:
    """What came of timing models.

    Attributes:
        sides: for each side, seconds by model and batch size: an array (rounds, forwards of a
            visit). A model that failed is on none of them.
        failures: the line that tells what went wrong, by model.
    """

    sides: tuple[dict[tuple[str, int], Seconds], ...]
    failures: dict[str, str]


class Broken(UserError):
    """A model failed; the text is the line that tells how."""

    def __init__(self, model: str, line: str) -> None:
        super().__init__(line)
        self.model = model


@dataclass(frozen=True)
class Visit:
    """How many forwards of a model a round makes, first untimed, then timed."""

    untimed: int
    timed: int


def usable_cpus() -> list[int]:
    """The processors that this process may use; empty where the system has no affinity."""
    process = psutil.Process()
    return process.cpu_affinity() if hasattr(process, "cpu_affinity") else []


def cpus(turn: int, threads: int) -> list[int]:
    """The processors of a turn: as many as threads, all that are usable one after another."""
    usable = usable_cpus()
    if not usable:
        return []
    first = turn * threads
    return sorted({usable[(first + index) % len(usable)] for index in range(threads)})


def measure(sides: Sequence[Side], models: Mapping[int, Sequence[str]], threads: int) -> Times:
    """Time models in a fresh process for each side, all in turn.

    Args:
        models: by batch size, names of variants, of the probe, or of what else the sides serve.

    Raises:
        UserError: a whole side failed.
    """
    failures: dict[str, str] = {}
    found: list[dict[tuple[str, int], Seconds]] = [{} for _ in sides]
    with ExitStack() as stack:
        children = []
        for side in sides:
            one, _ = stack.enter_context(
                protocol.conversation(side.checkout, command=side.command, steady_heap=True)
            )
            loaded = one.ask({"request": "load", "threads": threads, **side.request})
            failures |= {name: wrong for name, wrong in loaded.items() if wrong is not None}
            children.append(one)
        for size, names in models.items():
            rows = of_those_that_work(children, names, size, threads, failures)
            for into, seconds in zip(found, rows, strict=True):
                into.update({(name, size): np.asarray(rows) for name, rows in seconds.items()})
    for one_side in found:
        for model, size in list(one_side):
            if model in failures:
                del one_side[model, size]
    return Times(tuple(found), failures)


def of_those_that_work(
    children: Sequence[Child],
    models: Sequence[str],
    batch_size: int,
    threads: int,
    failures: dict[str, str],
) -> list[dict[str, list[list[float]]]]:
    """As ``in_turn``, once more without a model that fails.

    Args:
        failures: by model; those that have failed before are left out, and new ones are added.
    """
    while working := [name for name in models if name not in failures]:
        try:
            return in_turn(children, working, batch_size, threads)
        except Broken as error:
            failures[error.model] = str(error)
    return [{} for _ in children]


def in_turn(
    children: Sequence[Child], models: Sequence[str], batch_size: int, threads: int
) -> list[dict[str, list[list[float]]]]:
    """Visit every model of every child round by round; as many rounds as the budget allows."""
    visits, rounds = plan(warm_up(children, models, batch_size, threads))
    seconds: list[dict[str, list[list[float]]]] = [{name: [] for name in models} for _ in children]
    pairs = list(zip(children, seconds, strict=True))
    for turn in range(rounds):
        on = cpus(turn // 2, threads)
        for name in models:
            for one, into in pairs:
                into[name].append(visit(one, name, batch_size, visits[name], on))
        pairs.reverse()
    return seconds


def visit(
    one: Child, model: str, batch_size: int, forwards: Visit, on: Sequence[int]
) -> list[float]:
    """Seconds of the timed forwards of a visit.

    Raises:
        Broken: the model failed.
    """
    found: list[float] | str = one.ask(
        {
            "request": "visit",
            "model": model,
            "batch_size": batch_size,
            "untimed": forwards.untimed,
            "timed": forwards.timed,
            "cpus": on,
        }
    )
    if isinstance(found, str):
        raise Broken(model, found)
    return found


def warm_up(
    children: Sequence[Child], models: Sequence[str], batch_size: int, threads: int
) -> dict[str, float]:
    """Run all models until a pass takes about as long as those before.

    Returns:
        Seconds of each model by then, of the first child.
    """
    once = Visit(0, 1)
    passes: list[list[list[float]]] = []

    def total(few: list[list[list[float]]]) -> float:
        return float(np.median(np.sum(few, axis=(1, 2))))

    while len(passes) < MOST_WARMUP_PASSES:
        on = cpus(len(passes), threads)
        passes.append(
            [[visit(one, name, batch_size, once, on)[0] for one in children] for name in models]
        )
        before, now = passes[-2 * WARMUP_PASSES : -WARMUP_PASSES], passes[-WARMUP_PASSES:]
        if len(before) == WARMUP_PASSES and abs(total(now) / total(before) - 1) < STEADY:
            break
    settled = np.median(passes[-WARMUP_PASSES:], axis=0)[:, 0]
    return dict(zip(models, settled.tolist(), strict=True))


def plan(seconds: Mapping[str, float]) -> tuple[dict[str, Visit], int]:
    """The visit to each model that takes so long, and how many rounds of them the budget allows."""
    visits = {
        name: Visit(
            untimed=math.ceil(UNTIMED_SECONDS / one),
            timed=max(LEAST_TIMED, min(MOST_TIMED, round(TIMED_SECONDS / one))),
        )
        for name, one in seconds.items()
    }
    one_round = sum(seconds[name] * (one.untimed + one.timed) for name, one in visits.items())
    even = int(BUDGET_SECONDS / one_round) // 2 * 2
    return visits, max(LEAST_ROUNDS, min(MOST_ROUNDS, even))


def log_ratio(seconds: Seconds, reference: Seconds) -> float:
    """Median over the rounds of the logarithm of a ratio, of two models that took turns.

    Of each visit the fastest forward counts: what interrupts one only adds to it.

    Args:
        seconds, reference: (rounds, forwards of a visit), each with its own number of forwards.
    """
    each = np.log(np.min(seconds, axis=1)) - np.log(np.min(reference, axis=1))
    return float(np.median(each))
