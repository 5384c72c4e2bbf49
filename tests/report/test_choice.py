import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from qmodels import report
from qmodels.gate import Entry, Run
from qmodels.gate.intervals import sign_interval
from qmodels.measure.metrics import METRICS
from qmodels.report.choice import Choice
from qmodels.system.errors import NothingMeasured, UserError
from tests.entries import entry
from tests.report.test_speed import run

ONNX = "onnx 1.23.2, onnxruntime 1.32.0"
RATIOS = {"fast": 0.1, "slow": 0.9}
PROCESSES = (0.97, 0.99, 1.01, 1.03)


def variant(
    name: str,
    drop: float,
    interval: tuple[float, float],
    ratio: float | None = None,
    *,
    processes: Sequence[float] = PROCESSES,
    runtime: str | None = None,
    arithmetic: str = "int8",
    **metrics: float,
) -> list[Entry]:
    """Entries of a variant whose latency is a multiple of fp32's in each process."""
    speed = {"latency_ms": METRICS["latency_ms"].of(40 * (ratio or 1))}
    if ratio:
        samples = tuple(math.log(ratio * process) for process in processes)
        shown = sign_interval(samples, 0.025)
        ci = math.exp(shown.low), math.exp(shown.high)
        speed["latency_ratio"] = METRICS["latency_ratio"].of(
            ratio,
            ci,
            ci_level=shown.level,
            samples=samples[:2],
            confirmation=samples[2:],
        )
    others = {key: METRICS[key].of(value) for key, value in metrics.items()}
    accuracy = {"top1_drop": METRICS["top1_drop"].of(drop, interval, ci_level=0.95)}
    return [
        entry(
            bench,
            name,
            engine="onnxruntime" if runtime else "x86",
            runtime=runtime,
            arithmetic=arithmetic,
            images=1000,
            metrics=measured,
        )
        for bench, measured in (
            ("bench_accuracy", accuracy),
            ("bench_latency", speed),
            ("bench_size", others),
        )
    ]


FP32 = variant("fp32", 0, (-0.02, 0.02), arithmetic="float32", size_bytes=4e6, memory_bytes=8e6)
COMPILED = variant("compiled", 0, (-0.02, 0.02), 0.5, arithmetic="float32", size_bytes=9e6)
STATIC = variant("static", 0.1, (-0.1, 0.3), 0.25, size_bytes=1e6, memory_bytes=3e6)
CLOSE = variant("close", -0.1, (-0.3, 0.1), 0.255, size_bytes=1.005e6, memory_bytes=3.2e6)
FOREIGN = variant("foreign", 0.2, (0.0, 0.4), 0.125, runtime=ONNX, size_bytes=2e6)
LOSSY = variant("lossy", 2.0, (1.5, 2.5), 0.1, size_bytes=0.5e6)
WHOLE = (FP32, COMPILED, STATIC, CLOSE, FOREIGN, LOSSY)


def of(*variants: list[Entry]) -> Run:
    return run(*(each for entries in variants for each in entries))


def names(choice: Choice) -> list[str]:
    return [candidate.variant for candidate in choice.best]


def test_the_fastest_within_the_margin_is_recommended() -> None:
    choice = report.choose(of(*WHOLE), 0.5)
    assert choice.status == 0
    assert names(choice) == ["foreign"]
    assert [candidate.variant for candidate in choice.exceeding] == ["lossy"]
    # Of the two that torch runs and that are equally fast, the one that loses less comes first.
    assert [candidate.variant for candidate in choice.with_torch] == ["close", "static"]


def test_the_end_of_the_interval_has_to_be_within_the_margin() -> None:
    assert names(report.choose(of(*WHOLE), 0.4)) == ["foreign"]
    choice = report.choose(of(*WHOLE), 0.39)
    assert names(choice) == ["close", "static"]
    assert [candidate.variant for candidate in choice.undecided] == ["foreign"]
    text = report.choice_text(choice)
    assert "better in latency, but may lose more: foreign" in text
    slow = variant("slow", 0, (-1, 1), 0.9)
    assert "better in latency" not in report.choice_text(report.choose(of(FP32, STATIC, slow)))


def test_none_may_meet_the_margin_or_none_can() -> None:
    unsure = variant("unsure", 0, (-1, 1), 0.9)
    undecided = report.choose(of(FP32, STATIC, LOSSY, unsure), 0)
    assert undecided.status == 3
    text = report.choice_text(undecided)
    assert text.startswith("undecided: no variant is shown to lose at most 0 points of top-1\n")
    assert "nearest: static, top-1 -0.10 points (-0.30 to +0.10, 1000 images)" in text
    assert "meets  a margin of 0.30 points" in text
    assert report.choose(of(FP32, STATIC, LOSSY), 0.3).status == 0

    none = report.choose(of(FP32, LOSSY), 1)
    assert none.status == 1
    assert report.choice_text(none).startswith("none: every variant loses more than 1 points")
    assert report.choose(of(FP32, LOSSY), 1.5).status == 3


def test_what_the_processes_do_not_separate_is_not_distinguishable() -> None:
    apart = variant("apart", 0.1, (-0.1, 0.2), 0.28)
    assert names(report.choose(of(FP32, STATIC, apart))) == ["static"]
    # Of three processes each, even complete separation happens by chance once in ten: no interval.
    few = PROCESSES[:3]
    fast = variant("fast", 0, (-0.1, 0.1), 0.1, processes=few)
    slow = variant("slow", 0, (-0.2, 0.2), 0.9, processes=few)
    assert names(report.choose(of(FP32, fast, slow))) == ["fast"]


def test_equality_does_not_carry_over() -> None:
    noisy = variant("noisy", 0.2, (0.0, 0.3), 0.2, processes=(0.5, 1.0, 1.0, 2.0))
    middle = variant("middle", 0.1, (0.0, 0.2), 0.21, processes=(1.0, 1.001, 1.002, 1.003))
    accurate = variant("accurate", 0.0, (0.0, 0.1), 0.23, processes=(1.0, 1.001, 1.002, 1.003))
    # The most accurate is not distinguishable from the noisy one, but surely slower than another.
    assert names(report.choose(of(FP32, noisy, middle, accurate))) == ["middle", "noisy"]
    # What is surely slower than the fastest is listed, if it equals the one that is recommended.
    fast = variant("fast", 0.2, (0.0, 0.3), 0.20, processes=(1.0, 1.001, 1.002, 1.003))
    noisy = variant("noisy", 0.1, (0.0, 0.2), 0.21, processes=(0.9, 0.95, 1.05, 1.1))
    slow = variant("slow", 0.0, (0.0, 0.1), 0.22, processes=(1.0, 1.001, 1.002, 1.003))
    assert names(report.choose(of(FP32, fast, noisy, slow))) == ["noisy", "fast", "slow"]


def test_a_single_process_has_no_interval() -> None:
    alone = [variant(name, 0, (-0.1, 0.1), x, processes=(1.0,)) for name, x in RATIOS.items()]
    choice = report.choose(of(FP32, *alone))
    assert names(choice) == ["fast"]
    assert "10.00 times the speed of fp32 with 1 image\n" in report.choice_text(choice)


def test_odd_records_have_a_choice() -> None:
    accuracy, latency, size = variant("zero", 0, (-0.1, 0.1), 0.5)
    ratio = METRICS["latency_ratio"].of(0.0, latency.metrics["latency_ratio"].ci)
    zero = [accuracy, replace(latency, metrics={**latency.metrics, "latency_ratio": ratio}), size]
    assert names(report.choose(of(FP32, STATIC, zero))) == ["static"]
    accuracy, *others = variant("unsure", 0, (-0.1, 0.1), 0.5)
    drop = {"top1_drop": METRICS["top1_drop"].of(0)}
    unsure = replace(accuracy, metrics=drop, images=None)
    choice = report.choose(of(FP32, [unsure, *others]))
    assert choice.status == 3
    assert "nearest: unsure, top-1 +0.00 points (no interval)\n" in report.choice_text(choice)


def test_of_equal_sizes_the_fastest_is_recommended() -> None:
    slow = variant("slow", 0, (-0.1, 0.1), 0.9, size_bytes=0.999e6)
    choice = report.choose(of(*WHOLE, slow), 0.5, "size")
    assert names(choice) == ["close", "slow", "static"]
    assert "the smallest that loses" in report.choice_text(choice)
    assert names(report.choose(of(*WHOLE), 0.5, "memory")) == ["static"]


def test_one_runtime_can_be_asked_for() -> None:
    choice = report.choose(of(*WHOLE), runtime="torch")
    assert names(choice) == ["close", "static"]
    assert not choice.with_torch
    with pytest.raises(UserError, match="--runtime tvm: .* choose onnxruntime, torch"):
        report.choose(of(*WHOLE), runtime="tvm")


def test_a_run_that_measured_too_little_recommends_nothing() -> None:
    sizes = replace(of(FP32[2:], STATIC[2:]), skipped={"no TPU": ("a",)})
    with pytest.raises(NothingMeasured, match="no variant but fp32 has accuracy and latency"):
        report.choose(sizes)
    assert report.recommend(sizes, 0.5).splitlines() == [
        "no recommendation: no variant but fp32 has accuracy and latency: run all benches",
        "not measured: a: no TPU",
    ]
    with pytest.raises(UserError, match="margin nan: choose a number"):
        report.choose(of(*WHOLE), math.nan)
    with pytest.raises(UserError, match="--batch-size 4: .* choose 1"):
        report.choose(of(*WHOLE), batch_size=4)
