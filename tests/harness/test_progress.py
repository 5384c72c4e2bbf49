import time

import pytest

from qmodels.harness.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that a test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def planned(past: dict[str, float] | None = None) -> Progress:
    progress = Progress(past=past or {})
    for group in ("accuracy", "size"):
        for variant in ("fp32", "int8", "int4"):
            progress.plan(group, variant)
    return progress


def bench(progress: Progress, clock: list[float], variant: str, seconds: float) -> None:
    progress.begin("accuracy", variant)
    progress.call()
    clock[0] += seconds
    progress.end(skipped=False)


def test_it_names_the_bench_and_what_it_does(clock: list[float]) -> None:
    progress = planned()
    assert str(progress) == "starting"
    progress.begin("accuracy", "fp32")
    assert str(progress) == "accuracy 1 of 3 · preparing fp32"
    with progress.building("fp32"):
        assert str(progress) == "accuracy 1 of 3 · building fp32"
    progress.call()
    assert str(progress) == "accuracy 1 of 3 · evaluating fp32"
    progress.failed = 2
    assert str(progress).endswith(" · 2 failed")


def test_the_first_run_knows_the_time_of_its_stage_alone(clock: list[float]) -> None:
    progress = planned()
    bench(progress, clock, "fp32", 20)
    progress.begin("accuracy", "int8")
    clock[0] += 10
    assert progress.remaining() is None
    assert progress.remaining("accuracy") == pytest.approx(30)
    assert str(progress).endswith("about 30 s left of accuracy")


def test_a_later_run_knows_the_time_of_all(clock: list[float]) -> None:
    progress = planned({"accuracy": 20.0, "size": 1.0})
    progress.begin("accuracy", "fp32")
    assert progress.remaining() == pytest.approx(63)
    clock[0] += 50
    assert progress.remaining() == pytest.approx(13)
    clock[0] += 50
    assert progress.remaining() == pytest.approx(3), "never less than what others take"


def test_builds_are_estimated_apart(clock: list[float]) -> None:
    progress = planned({"accuracy": 1.0, "size": 1.0})
    progress.begin("accuracy", "fp32")
    with progress.building("fp32"):
        clock[0] += 30
    assert progress.remaining() == pytest.approx(6 + 2 * 30)
    clock[0] += 1
    stage = progress.end(skipped=False)
    assert (stage.seconds, stage.built) == pytest.approx((1, 30))
    progress.begin("size", "fp32")
    with progress.building("fp32"):
        clock[0] += 5
    assert progress.builds == [30], "it was built before"


def test_processes_of_latency_tell_the_time(clock: list[float]) -> None:
    progress = Progress()
    progress.plan("latency", "fp32")
    progress.begin("latency", "fp32")
    progress.time_process(36, least=4)
    assert str(progress) == "latency 1 of 1 · timing 36 cases in turn, process 1 of 4"
    clock[0] += 15
    progress.time_process(36, least=4)
    assert str(progress).endswith("process 2 of 4 · about 40 s left")
    for _ in range(3):
        progress.time_process(1, least=4)
    assert "timing 1 case, process 5" in str(progress)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "10 s"), (44, "40 s"), (114, "110 s"), (115, "2 min"), (400, "7 min")],
)
def test_durations_are_rounded(seconds: float, text: str) -> None:
    assert duration(seconds) == text
