import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodels import gate
from qmodels.gate import Baseline, Entry, Tolerances
from qmodels.gate.baseline import CONDITIONS, Made
from qmodels.gate.ranks import Ranks
from qmodels.metric import Metric, measured

NAME = "benches/bench_size.py::bench_size[fp32]"
HERE = {
    "machine_class": "linux-x86_64-avx2",
    "engine": "eager",
    "runtime": None,
    "architecture": "resnet34",
    "width": 8,
    "dataset": "digits",
    "threads": 1,
    "batch_size": 1,
}
MADE = Made("2026-01-01", "abc", {"python": "3.11.7", "torch": "2.15.0"}, "host")
TOLERANCES = Tolerances(
    {
        "top1": {"tolerance": 0.1, "level": 0.01},
        "top5_error": {"tolerance": 0.1, "level": 0.01},
        "size_bytes": {"tolerance": 0.1},
        "rss_bytes": {"tolerance": 0.1},
        "latency_ratio": {"tolerance": 0.1, "other_host": 0.3},
        "latency_change": {"tolerance": 0.015},
    }
)


def entry(**metrics: Metric) -> Entry:
    return Entry("fp32", HERE, metrics, MADE)


def stored(**metrics: Metric) -> Baseline:
    return Baseline(Path("baselines/file.json"), {NAME: entry(**metrics)})


def size(value: float) -> Metric:
    return measured("size_bytes", value)


def compare(now: Entry, baseline: Baseline | None) -> list[gate.Finding]:
    return gate.compare(NAME, now, baseline, TOLERANCES)


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
        "tolerance 100.0 kB (baselines/file.json); if that is intended, accept it with "
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
        (None, "no run is stored for digits, resnet34, width 8 on linux-x86_64-avx2"),
        (Baseline(Path("b.json"), {}), "b.json has no entry benches/bench_size.py"),
        (stored(rss_bytes=size(1)), "has the entry without it"),
    ],
)
def test_what_the_baseline_lacks_is_missing_and_says_so(
    baseline: Baseline | None, said: str
) -> None:
    finding = compare(entry(size_bytes=size(1)), baseline)[0]
    assert finding.verdict == "missing"
    assert said in finding.line
    assert "--qmodels-update-baseline" in finding.line


def test_a_metric_that_is_no_longer_measured_is_missing() -> None:
    found = compare(entry(size_bytes=size(1)), stored(size_bytes=size(1), rss_bytes=size(1)))
    assert [(one.metric, one.verdict) for one in found] == [
        ("size_bytes", "ok"),
        ("rss_bytes", "missing"),
    ]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_other_conditions_are_not_compared(condition: str) -> None:
    now = replace(entry(size_bytes=size(1)), conditions={**HERE, condition: "another"})
    (finding,) = compare(now, stored(size_bytes=size(1)))
    assert finding.verdict == "missing"
    assert condition in finding.line


@pytest.mark.parametrize(
    ("versions", "verdict"),
    [
        ({"python": "3.11.9", "torch": "2.15.0"}, "ok"),
        ({"python": "3.12.1", "torch": "2.15.0"}, "missing"),
        ({"python": "3.11.7", "torch": "2.16.0"}, "missing"),
        ({}, "missing"),
    ],
)
def test_a_run_of_other_versions_is_stale(versions: dict[str, str], verdict: str) -> None:
    now = replace(entry(size_bytes=size(1)), made=replace(MADE, versions=versions))
    (finding,) = compare(now, stored(size_bytes=size(1)))
    assert finding.verdict == verdict
    assert verdict == "ok" or "it is stale" in finding.line


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
    baseline = Baseline(Path("b.json"), {NAME: accuracy(before)})
    (finding,) = compare(accuracy(now), baseline)
    assert finding.verdict == verdict
    assert f"{lost} images lost and {won} won of 10000" in finding.line


def test_predictions_for_other_images_are_not_compared() -> None:
    baseline = Baseline(Path("b.json"), {NAME: accuracy(predictions([], "others"))})
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
        (ratio(0.56, count=4, spread=0.2), "ok"),  # too noisy to tell
        (ratio(0.60, count=4, confirmation=4), "regressed"),
        (ratio(0.42, count=4, confirmation=4), "improved"),
    ],
)
def test_ratios_are_held_process_by_process(now: Metric, verdict: str) -> None:
    (finding,) = compare(entry(latency_ratio=now), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == verdict
    assert "this host's run" in finding.line


def test_a_ratio_that_was_not_found_again_is_ok() -> None:
    suspected = replace(ratio(0.6, count=4), confirmation=ratio(0.5, count=5).samples)
    (finding,) = compare(entry(latency_ratio=suspected), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"


def test_a_stored_run_of_another_host_has_a_tolerance_of_its_own_and_says_so() -> None:
    slower = ratio(0.6, count=4, confirmation=4)
    elsewhere = replace(entry(latency_ratio=slower), made=replace(MADE, host="another"))
    (finding,) = compare(elsewhere, stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"
    assert "tolerance 30 %, another host's run" in finding.line


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
