import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodels import gate
from qmodels.gate import Baseline, Entry, Key, Tolerances
from qmodels.gate.baseline import CONDITIONS, Made
from qmodels.gate.ranks import Ranks
from qmodels.metric import Metric, measured

CLASS, OTHER = "linux-x86_64-avx512_bf16", "linux-x86_64-avx512"
KEY = Key("digits-resnet34-w8", "bench_size", "fp32", 1)
HERE = {
    "engine": "eager",
    "runtime": None,
    "architecture": "resnet34",
    "width": 8,
    "dataset": "digits",
    "checkpoint": "f3d18e6f008e635e",
    "threads": 1,
    "batch_size": 1,
    "gpu": None,
}
MADE = Made("2026-01-01", "abc", {"python": "3.11.7", "torch": "2.15.0"}, "host")
TOLERANCES = Tolerances(
    {
        "top1": {
            "tolerance": 0.1,
            "other_class": 0.1,
            "level": 0.01,
            "arithmetic": {"int8": {"other_class": 0.5}},
        },
        "top5_error": {"tolerance": 0.1, "level": 0.01},
        "size_bytes": {"tolerance": 0.1, "other_class": 0.1},
        "operator_calls": {"tolerance": 0, "other_class": 0},
        "memory_bytes": {"tolerance": 0.1},
        "latency_ratio": {"tolerance": 0.1, "other_host": 0.3},
        "latency_change": {"tolerance": 0.015},
    }
)


def entry(**metrics: Metric) -> Entry:
    return Entry(
        key=KEY,
        name="bench_size[fp32]",
        nodeid="benches/bench_size.py::bench_size[fp32]",
        machine_class=CLASS,
        arithmetic="float32",
        conditions=HERE,
        metrics=metrics,
        made=MADE,
        file="baselines/file.json",
    )


def holding(before: Entry, *, beside: bool = False) -> Baseline:
    return Baseline(Path("baselines/file.json"), {KEY: before}, beside)


def stored(**metrics: Metric) -> Baseline:
    return holding(entry(**metrics))


def size(value: float) -> Metric:
    return measured("size_bytes", value)


def compare(now: Entry, baseline: Baseline | None) -> list[gate.Finding]:
    return gate.compare(now, baseline, TOLERANCES)


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        (size(100), size(100), "ok"),
        (size(109), size(100), "ok"),
        (size(111), size(100), "regressed"),
        (size(89), size(100), "improved"),
        (measured("top1", 66.35), measured("top1", 66.4), "ok"),
        (measured("top1", 66.2), measured("top1", 66.4), "regressed"),
        (measured("top1", 66.6), measured("top1", 66.4), "improved"),
    ],
)
def test_verdicts_on_values(now: Metric, before: Metric, verdict: str) -> None:
    name = "size_bytes" if now.unit == "bytes" else "top1"
    (finding,) = compare(entry(**{name: now}), stored(**{name: before}))
    assert finding.verdict == verdict


def test_a_regression_is_one_line_with_everything_needed() -> None:
    (finding,) = compare(entry(size_bytes=size(2e6)), stored(size_bytes=size(1e6)))
    assert finding.line == (
        "size_bytes of bench_size[fp32] regressed: 2.000 MB now, 1.000 MB in the baseline, "
        "tolerance 100.0 kB (baselines/file.json, this host); if that is intended, accept it with "
        "--qmodels-update-baseline"
    )


def test_an_improvement_says_how_to_bank_it() -> None:
    (finding,) = compare(entry(size_bytes=size(1e6)), stored(size_bytes=size(2e6)))
    assert finding.verdict == "improved"
    assert finding.line.endswith("; bank it with --qmodels-update-baseline")


def test_neither_side_can_widen_its_own_tolerance() -> None:
    loose = replace(size(150), tolerance=9.0)
    (finding,) = compare(entry(size_bytes=loose), stored(size_bytes=replace(loose, value=100)))
    assert finding.verdict == "regressed"


@given(before=st.floats(1, 1e9), now=st.floats(1, 1e9), better=st.sampled_from(["lower", "higher"]))
def test_what_regresses_one_way_improves_the_other(before: float, now: float, better: Any) -> None:
    def verdict(direction: Any) -> str:
        metrics = [Metric(value, "bytes", direction) for value in (now, before)]
        (found,) = compare(entry(size_bytes=metrics[0]), stored(size_bytes=metrics[1]))
        return found.verdict

    opposite = {"ok": "ok", "regressed": "improved", "improved": "regressed"}
    other = "higher" if better == "lower" else "lower"
    assert verdict(other) == opposite[verdict(better)]


def test_what_is_not_gated_is_not_compared() -> None:
    assert compare(entry(latency_ms=measured("latency_ms", 9)), None) == []


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        (None, "no run is stored for digits-resnet34-w8 of f3d18e6f008e635e on linux-x86_64-avx"),
        (
            Baseline(Path("b.json"), {KEY._replace(variant="other"): entry()}),
            "b.json has no bench_size[fp32]",
        ),
    ],
)
def test_what_the_baseline_lacks_is_missing_and_says_so(
    baseline: Baseline | None, said: str
) -> None:
    (finding,) = compare(entry(size_bytes=size(1)), baseline)
    assert finding.verdict == "missing"
    assert said in finding.line
    assert "--qmodels-update-baseline" in finding.line


def test_a_metric_that_the_stored_entry_lacks_is_new() -> None:
    now = entry(size_bytes=size(1), memory_bytes=measured("memory_bytes", 1))
    found = compare(now, stored(size_bytes=size(1)))
    assert [(one.metric, one.verdict) for one in found] == [
        ("size_bytes", "ok"),
        ("memory_bytes", "new"),
    ]
    assert "has the entry without it" in found[1].line


@pytest.mark.parametrize("beside", [False, True])
def test_a_metric_that_is_no_longer_measured_is_missing(beside: bool) -> None:
    before = entry(size_bytes=size(1), memory_bytes=measured("memory_bytes", 1))
    found = compare(entry(size_bytes=size(1)), holding(before, beside=beside))
    assert [(one.metric, one.verdict) for one in found] == [
        ("size_bytes", "ok"),
        ("memory_bytes", "missing"),
    ]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_other_conditions_are_not_compared(condition: str) -> None:
    now = replace(entry(size_bytes=size(1)), conditions={**HERE, condition: "another"})
    (finding,) = compare(now, stored(size_bytes=size(1)))
    assert finding.verdict == "missing"
    assert "another" in finding.line


@pytest.mark.parametrize(
    ("versions", "verdict"),
    [
        ({"python": "3.11.9", "torch": "2.15.0"}, "ok"),
        ({"python": "3.12.1", "torch": "2.15.0"}, "ok"),
        ({"python": "3.11.7", "torch": "2.15.0+cpu"}, "ok"),
        ({"python": "3.11.7", "torch": "2.16.0"}, "missing"),
        ({}, "missing"),
    ],
)
def test_a_run_of_another_torch_is_stale_and_says_how_to_get_the_pinned_one(
    versions: dict[str, str], verdict: str
) -> None:
    now = replace(entry(size_bytes=size(1)), made=replace(MADE, versions=versions))
    (finding,) = compare(now, stored(size_bytes=size(1)))
    assert finding.verdict == verdict
    assert verdict == "ok" or "stale" in finding.line
    assert verdict == "ok" or "-c baselines/constraints.txt" in finding.line


def test_local_labels_of_runtimes_are_no_other_versions() -> None:
    now = replace(
        entry(size_bytes=size(1)), conditions={**HERE, "runtime": "torchao 0.18.0+cpu, onnx 1.23"}
    )
    before = replace(now, conditions={**HERE, "runtime": "torchao 0.18.0, onnx 1.23"})
    (finding,) = compare(now, holding(before))
    assert finding.verdict == "ok"


def test_another_python_is_as_another_host_for_latency() -> None:
    slower = ratio(0.6, count=4, confirmation=4)
    versions = {"python": "3.13.0", "torch": "2.15.0"}
    now = replace(entry(latency_ratio=slower), made=replace(MADE, versions=versions))
    (finding,) = compare(now, stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"
    assert "tolerance 30 %" in finding.line


def test_memory_of_another_python_is_not_compared() -> None:
    twice = entry(memory_bytes=measured("memory_bytes", 2e6), size_bytes=size(2e6))
    now = replace(twice, made=replace(MADE, versions={"python": "3.13.0", "torch": "2.15.0"}))
    before = stored(memory_bytes=measured("memory_bytes", 1e6), size_bytes=size(1e6))
    assert [one.metric for one in compare(now, before)] == ["size_bytes"]
    assert [one.metric for one in compare(twice, before)] == ["memory_bytes", "size_bytes"]


def of_other_class(engine: str, arithmetic: str = "float32", **metrics: Metric) -> Entry:
    return replace(
        entry(**metrics),
        machine_class=OTHER,
        arithmetic=arithmetic,
        conditions={**HERE, "engine": engine},
    )


def here_on(engine: str, arithmetic: str = "float32", **metrics: Metric) -> Entry:
    return replace(of_other_class(engine, arithmetic, **metrics), machine_class=CLASS)


@pytest.mark.parametrize(
    ("engine", "metric", "gated"),
    [
        ("onnxruntime", "size_bytes", True),
        ("inductor", "size_bytes", False),  # machine code
        ("eager", "operator_calls", True),
        ("x86", "operator_calls", False),  # fbgemm there, oneDNN here
        ("onednn", "memory_bytes", False),
        ("onednn", "latency_ratio", False),
    ],
)
def test_another_class_gates_what_both_compute_alike(engine: str, metric: str, gated: bool) -> None:
    worse, better = (replace(measured(metric, value), samples=()) for value in (20.0, 10.0))
    now = here_on(engine, **{metric: worse})
    found = compare(now, holding(of_other_class(engine, **{metric: better})))
    assert [one.verdict for one in found] == (["regressed"] if gated else [])
    assert all("another class" in one.line for one in found)


@pytest.mark.parametrize(("arithmetic", "verdict"), [("float32", "regressed"), ("int8", "ok")])
def test_int8_accuracy_of_another_class_has_a_tolerance_of_its_own(
    arithmetic: str, verdict: str
) -> None:
    now = here_on("x86", arithmetic, top1=measured("top1", 66.1))
    before = of_other_class("x86", arithmetic, top1=measured("top1", 66.4))
    (finding,) = compare(now, holding(before))
    assert finding.verdict == verdict


def test_what_another_class_does_not_have_is_new_there() -> None:
    before = replace(entry(), key=KEY._replace(variant="other"), machine_class=OTHER)
    (finding,) = compare(entry(size_bytes=size(1)), Baseline(Path("b.json"), {before.key: before}))
    assert finding.verdict == "new"


def test_what_a_base_does_not_know_is_new() -> None:
    (finding,) = compare(entry(size_bytes=size(1)), Baseline(Path("base"), {}, beside=True))
    assert finding.verdict == "new"


def test_beside_a_base_other_packages_are_compared_and_other_weights_are_not() -> None:
    older = replace(MADE, versions={"python": "3.11.7", "torch": "2.14.0"})
    now = entry(size_bytes=size(2))
    (finding,) = compare(now, holding(replace(entry(size_bytes=size(1)), made=older), beside=True))
    assert finding.verdict == "regressed"
    others = replace(entry(size_bytes=size(1)), conditions={**HERE, "checkpoint": "others"})
    (finding,) = compare(now, holding(others, beside=True))
    assert finding.verdict == "missing"


@pytest.mark.parametrize(("now", "verdict"), [(160, "ok"), (175, "regressed")])
def test_a_change_that_the_stored_run_accepts_passes_beside_a_base(now: int, verdict: str) -> None:
    head, base = stored(size_bytes=size(1500)), stored(size_bytes=size(1000))
    accepted = gate.changes(head, base, TOLERANCES)
    assert accepted == {(KEY, "size_bytes"): 500}
    accepted = {(KEY, "size_bytes"): 50.0}
    beside = holding(entry(size_bytes=size(100)), beside=True)
    (finding,) = gate.compare(entry(size_bytes=size(now)), beside, TOLERANCES, accepted)
    assert finding.verdict == verdict
    assert "50 bytes more accepted" in finding.line or "0.1 kB more accepted" in finding.line


def test_stored_runs_that_differ_within_tolerance_accept_nothing() -> None:
    head, base = stored(size_bytes=size(1050)), stored(size_bytes=size(1000))
    assert gate.changes(head, base, TOLERANCES) == {}
    assert gate.changes(base, head, TOLERANCES) == {}
    assert gate.changes(head, None, TOLERANCES) == {}


def predictions(wrong: list[int], images: str = "all") -> Ranks:
    values = np.zeros(10_000, np.uint8)
    values[wrong] = 1
    return Ranks(images, values)


def accuracy(ranks: Ranks) -> Entry:
    top1 = 100 * float((ranks.values == 0).mean())
    return replace(entry(top1=measured("top1", top1)), ranks=ranks)


@pytest.mark.parametrize(
    ("lost", "won", "verdict"),
    [
        (10, 0, "regressed"),  # a tenth of a point
        (9, 0, "ok"),  # less than is tolerated
        (1, 0, "ok"),
        (60, 48, "ok"),  # more than a tenth of a point, and no more than flips explain
        (60, 20, "regressed"),
        (0, 10, "improved"),
        (48, 60, "ok"),
    ],
)
def test_accuracy_is_held_image_by_image(lost: int, won: int, verdict: str) -> None:
    before = predictions(list(range(won)))
    now = predictions(list(range(1000, 1000 + lost)))
    baseline = holding(accuracy(before))
    (finding,) = compare(accuracy(now), baseline)
    assert finding.verdict == verdict
    assert f"{lost} images lost and {won} won of 10000" in finding.line


def test_predictions_for_other_images_are_not_compared() -> None:
    baseline = holding(accuracy(predictions([], "others")))
    (finding,) = compare(accuracy(predictions([])), baseline)
    assert finding.verdict == "missing"
    assert "other test images" in finding.line


def ratio(at: float, spread: float = 0.01, count: int = 12, confirmation: int = 0) -> Metric:
    samples = math.log(at) + spread * np.linspace(-1, 1, count)
    return measured(
        "latency_ratio",
        at,
        samples=tuple(samples),
        confirmation=tuple(samples[:confirmation]),
    )


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (ratio(0.50, count=4), "ok"),
        (ratio(0.54, count=4), "ok"),  # within 10 %
        (ratio(0.56, count=4, spread=0.2), "undecided"),  # too noisy to tell
        (ratio(0.60, count=4, confirmation=4), "regressed"),
        (ratio(0.42, count=4, confirmation=4), "improved"),
    ],
)
def test_ratios_are_held_process_by_process(now: Metric, verdict: str) -> None:
    (finding,) = compare(entry(latency_ratio=now), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == verdict
    assert "this host" in finding.line


def test_a_ratio_whose_confirmation_ran_out_of_processes_is_undecided() -> None:
    noisy = ratio(0.55, count=5, spread=0.3).samples
    suspected = replace(ratio(0.6, count=4), confirmation=noisy)
    (finding,) = compare(entry(latency_ratio=suspected), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "undecided"
    assert "run it again" in finding.line


def test_a_ratio_that_was_not_found_again_is_ok() -> None:
    suspected = replace(ratio(0.6, count=4), confirmation=ratio(0.5, count=5).samples)
    (finding,) = compare(entry(latency_ratio=suspected), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"


def test_a_stored_run_of_another_host_has_a_tolerance_of_its_own_and_says_so() -> None:
    slower = ratio(0.6, count=4, confirmation=4)
    elsewhere = replace(entry(latency_ratio=slower), made=replace(MADE, host="another"))
    (finding,) = compare(elsewhere, stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"
    assert "tolerance 30 %" in finding.line
    assert "another host" in finding.line


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.05, "regressed"), (0.0, "ok"), (-0.05, "improved")]
)
def test_beside_a_base_no_stored_run_is_needed_for_latency(change: float, verdict: str) -> None:
    metric = replace(ratio(math.exp(change), count=4, confirmation=4, spread=0.005), unit="x base")
    now = entry(latency_change=metric, latency_ratio=ratio(9.0), size_bytes=size(1))
    found = {one.metric: one for one in compare(now, None)}
    assert found["latency_change"].verdict == verdict
    assert "pairs of processes in turn" in found["latency_change"].line
    assert found["size_bytes"].verdict == "missing"
    assert "latency_ratio" not in found
