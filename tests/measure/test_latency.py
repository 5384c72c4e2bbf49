import math
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import psutil
import pytest

from qmodels.measure import latency
from qmodels.system.worker import Worker


class Clock:
    """Workers that take as long as they are told, on a machine that slows down."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.speed = 1.0
        self.visits: list[tuple[str, str]] = []
        # How many visits to all models each one lives to see.
        self.breaks: dict[str, float] = {}

    def worker(self, arm: str, factor: float) -> Any:
        clock = self

        class Arm:
            def ask(self, kind: type[latency.Visited], request: dict[str, Any]) -> Any:
                clock.visits.append((arm, request["model"]))
                if clock.breaks.get(request["model"], math.inf) < len(clock.visits):
                    return kind(failure=f"{request['model']} died")
                clock.speed *= 1.001
                seconds = clock.seconds[request["model"]] * factor * clock.speed
                return kind(tuple(seconds * next(NOISE) for _ in range(request["timed"])))

        return Arm()


NOISE: Iterator[float] = cycle([1.0, 1.7, 1.0, 1.2])


def run(clock: Clock, *arms: tuple[str, float]) -> list[dict[str, Any]]:
    workers: list[Worker] = [clock.worker(*arm) for arm in arms]
    return latency.time_in_turn(workers, list(clock.seconds), 1, 1)


def test_a_change_survives_a_machine_that_slows_down() -> None:
    clock = Clock(fp32=0.010, int8=0.001)
    base, head = run(clock, ("base", 1.0), ("head", 1.05))
    assert clock.speed > 1.1
    for name in clock.seconds:
        change = latency.log_ratio(np.array(head[name]), np.array(base[name]))
        assert change == pytest.approx(np.log(1.05), abs=2e-3)


def test_arms_load_at_the_same_time() -> None:
    loading: list[dict[str, Any]] = []

    class Arm:
        def send(self, request: dict[str, Any]) -> None:
            loading.append(request)

        def receive(self, kind: type[dict[str, str | None]]) -> dict[str, str | None]:
            assert len(loading) == 2
            return dict.fromkeys(loading[0]["artifacts"])

    workers: list[Any] = [Arm(), Arm()]
    requests = [{"artifacts": {"fp32": arm}, "threads": 1} for arm in ("base", "head")]
    assert latency.load(workers, requests) == [{"fp32": None}, {"fp32": None}]


def test_arms_take_turns_at_being_first() -> None:
    clock = Clock(fp32=0.010)
    rounds = len(run(clock, ("base", 1.0), ("head", 1.0))[0]["fp32"])
    order = [arm for arm, _ in clock.visits][-2 * rounds :]
    assert order == ["base", "head", "head", "base"] * (rounds // 2)


def test_a_model_that_breaks_costs_itself() -> None:
    clock = Clock(fp32=0.010, int8=0.001, damaged=0.001)
    clock.breaks = {"int8": 40}
    workers: list[Worker] = [clock.worker("base", 1.0), clock.worker("head", 1.05)]
    failures = {"damaged": "its artifact is damaged"}
    base, head = latency.time_working(workers, list(clock.seconds), 1, 1, failures)
    assert failures == {"damaged": "its artifact is damaged", "int8": "int8 died"}
    assert ("base", "damaged") not in clock.visits
    assert list(base) == list(head) == ["fp32"]
    change = latency.log_ratio(np.array(head["fp32"]), np.array(base["fp32"]))
    assert change == pytest.approx(np.log(1.05), abs=2e-3)
    clock.breaks["fp32"] = 0
    assert latency.time_working(workers, ["fp32"], 1, 1, failures) == [{}, {}]


def test_small_models_get_more_forwards_and_slow_ones_fewer_rounds() -> None:
    visits, rounds = latency.plan({"small": 0.0005, "large": 0.050})
    assert visits["small"] == latency.Visit(untimed=4, timed=12)
    assert visits["large"] == latency.Visit(untimed=1, timed=2)
    assert rounds == latency.LEAST_ROUNDS
    assert latency.plan({"small": 0.0005})[1] == latency.MOST_ROUNDS


def test_warming_up_goes_on_while_times_fall() -> None:
    clock = Clock(fp32=0.010)
    falling = iter([10.0] * 3 + [8.0] * 3 + [1.0] * 100)

    class Compiling:
        def ask(self, kind: type[latency.Visited], request: dict[str, Any]) -> Any:
            clock.visits.append(("head", request["model"]))
            return kind((0.01 * next(falling),))

    workers: list[Any] = [Compiling()]
    assert latency.warm_up(workers, ["fp32"], 1, 1)["fp32"] == pytest.approx(0.01)
    assert len(clock.visits) > 8


def test_what_interrupts_a_forward_is_not_counted() -> None:
    base = np.full((6, 3), 0.001)
    head = base.copy()
    head[:, 1] = 0.5
    head[0] = 0.7
    assert latency.log_ratio(head, base) == 0.0


def test_threads_take_their_turns_on_all_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def cpu_affinity(self) -> list[int]:
            return [4, 5, 6]

    monkeypatch.setattr(psutil, "Process", Process)
    assert [latency.cpus_of_turn(turn, 1) for turn in range(4)] == [[4], [5], [6], [4]]
    assert latency.cpus_of_turn(1, 2) == [4, 6]
    assert latency.cpus_of_turn(0, 8) == [4, 5, 6]
