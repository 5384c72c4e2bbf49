from dataclasses import replace

from qmodels import report
from qmodels.gate import Failure
from tests.report.test_choice import COMPILED, FP32, LOSSY, WHOLE, names, of, variant


def test_what_it_buys_and_costs_has_intervals() -> None:
    lines = report.choice_text(report.choose(of(*WHOLE))).splitlines()
    assert lines[0] == "recommended: foreign, the fastest that loses at most 0.5 points of top-1"
    assert lines[1:7] == [
        "  top-1  -0.20 points (-0.40 to +0.00, 1000 images)",
        "  buys   8.00 times the speed of fp32 with 1 image (7.77 to 8.25)",
        "         4.00 times the speed of compiled, the best float32 (3.77 to 4.25)",
        "         2.00 MB of files instead of 4.00",
        "  costs  the package onnxruntime",
        "with torch alone: close",
    ]
    assert "  not distinguishable in latency: static" in lines
    assert lines[-1] == (
        "confidence of the intervals: 95 % for top-1, 88 % for speed (4 processes)"
    )


def test_what_is_slower_or_larger_is_a_cost_and_what_is_equal_neither() -> None:
    reference = variant("fp32", 0, (0, 0), size_bytes=4e6, memory_bytes=2.02e6)
    slow = variant("slow", 0, (-0.1, 0.1), 0.8, size_bytes=8e6, memory_bytes=2e6)
    choice = report.choose(of(reference, COMPILED, slow), 0.1, runtime="torch", prefer="memory")
    assert report.choice_text(choice).splitlines()[1:5] == [
        "  top-1  +0.00 points (-0.10 to +0.10, 1000 images)",
        "  buys   1.25 times the speed of fp32 with 1 image (1.21 to 1.29)",
        "  costs  0.62 times the speed of compiled, the best float32 (0.59 to 0.66)",
        "         8.00 MB of files instead of 4.00",
    ]
    slower = variant("slower", 0, (-0.1, 0.1), 1.25)
    assert "buys" not in report.choice_text(report.choose(of(reference, slower), 0.1))


def test_a_float32_variant_is_compared_with_fp32_alone() -> None:
    text = report.choice_text(report.choose(of(FP32, COMPILED, LOSSY)))
    assert text.startswith("recommended: compiled, ")
    assert "the best float32" not in text


def test_a_variant_that_fp32_is_as_good_as_buys_nothing() -> None:
    slow = variant("slow", 0, (-0.1, 0.1), 1.2)
    assert "but    its latency is no less than that of fp32" in report.choice_text(
        report.choose(of(FP32, slow))
    )
    assert "is no less" not in report.choice_text(report.choose(of(*WHOLE)))


def test_what_was_not_compared_is_said_with_the_reason() -> None:
    on_gpu = variant("gpu", 0, (-0.1, 0.1), 0.1)
    of_gpu = [replace(entry, gpu="NVIDIA H100") for entry in on_gpu]
    untimed = variant("untimed", 0, (-0.1, 0.1))
    unevaluated = variant("unevaluated", 0, (-0.1, 0.1), 0.1)[1:]
    measured = replace(
        of(*WHOLE, of_gpu, untimed, unevaluated),
        skipped={"no TPU": ("a", "b", "c", "d")},
        failures=(Failure("bench_accuracy[broken]", "it broke", "broken"),),
    )
    choice = report.choose(measured)
    assert names(choice) == ["foreign"]
    assert report.choice_text(choice).splitlines()[-5:] == [
        "not measured: a, b, c, d: no TPU",
        "not measured: broken: the bench failed",
        "not measured: gpu: a GPU runs it, and this compares variants on the CPU",
        "not measured: untimed: its latency was not measured",
        "not measured: unevaluated: its accuracy was not measured",
    ]
