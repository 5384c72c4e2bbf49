"""Verdicts on values and on predictions, and what is said of what was not compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodels import gate
from qmodels.gate import Baseline, Entry, Finding
from qmodels.gate.finding import Verdict
from qmodels.gate.ranks import NOT_EVALUATED, Ranks
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import METRICS
from tests.gate.entries import KEY, TOLERANCES, compare, entry, holding, line, size, stored


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        (size(100), size(100), "ok"),
        (size(109), size(100), "ok"),
        (size(111), size(100), "regressed"),
        (size(89), size(100), "improved"),
        (METRICS["top1"].of(66.35), METRICS["top1"].of(66.4), "ok"),
        (METRICS["top1"].of(66.2), METRICS["top1"].of(66.4), "regressed"),
        (METRICS["top1"].of(66.6), METRICS["top1"].of(66.4), "improved"),
    ],
)
def test_verdicts_on_values(now: Metric, before: Metric, verdict: str) -> None:
    name = "size_bytes" if now.unit == "bytes" else "top1"
    (finding,) = compare(entry(**{name: now}), stored(**{name: before}))
    assert finding.verdict == verdict


def test_a_regression_is_one_line_with_everything_needed() -> None:
    (finding,) = compare(entry(size_bytes=size(2e6)), stored(size_bytes=size(1e6)))
    assert line(finding) == (
        "bench_size[fp32] regressed: size_bytes from 1.000 MB to 2.000 MB (tolerance 100.0 kB). "
        "Compared with baselines/file.json, this host. If that is intended, accept it with "
        "--qmodels-update-baseline"
    )


def test_an_improvement_says_how_to_store_it() -> None:
    (finding,) = compare(entry(size_bytes=size(1e6)), stored(size_bytes=size(2e6)))
    assert finding.verdict == "improved"
    assert line(finding).endswith(". To store that, accept it with --qmodels-update-baseline")


def test_metrics_of_a_benchmark_share_a_line() -> None:
    now = entry(size_bytes=size(2e6), operator_calls=METRICS["operator_calls"].of(3))
    before = stored(size_bytes=size(1e6), operator_calls=METRICS["operator_calls"].of(1))
    (shared,) = gate.lines(compare(now, before))
    assert "size_bytes from 1.000 MB to 2.000 MB (" in shared
    assert "; operator_calls from 1 call to 3 calls (" in shared
    assert shared.count("bench_size[fp32] regressed") == shared.count("Compared with") == 1


def test_neither_side_can_widen_its_own_tolerance() -> None:
    loose = replace(size(150), tolerance=9.0)
    (finding,) = compare(entry(size_bytes=loose), stored(size_bytes=replace(loose, value=100)))
    assert finding.verdict == "regressed"


@given(before=st.floats(1, 1e9), now=st.floats(1, 1e9), better=st.sampled_from(["lower", "higher"]))
def test_what_regresses_one_way_improves_the_other(before: float, now: float, better: Any) -> None:
    def verdict(direction: Any) -> str:
        metrics = [Metric(value, "bytes", direction) for value in (now, before)]
        (finding,) = compare(entry(size_bytes=metrics[0]), stored(size_bytes=metrics[1]))
        return finding.verdict

    opposite = {"ok": "ok", "regressed": "improved", "improved": "regressed"}
    other = "higher" if better == "lower" else "lower"
    assert verdict(other) == opposite[verdict(better)]


def test_what_is_not_gated_is_not_compared() -> None:
    assert compare(entry(latency_ms=METRICS["latency_ms"].of(9)), None) == []


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        (None, "No run of digits-resnet34-w8 is stored for linux-x86_64-avx"),
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
    assert said in line(finding)
    assert "--qmodels-update-baseline" in line(finding)


def test_a_metric_that_the_stored_entry_lacks_is_new() -> None:
    now = entry(size_bytes=size(1), memory_bytes=METRICS["memory_bytes"].of(1))
    findings = compare(now, stored(size_bytes=size(1)))
    assert [(finding.metric, finding.verdict) for finding in findings] == [
        ("size_bytes", "ok"),
        ("memory_bytes", "new"),
    ]
    assert "baselines/file.json has bench_size[fp32] without it" in line(findings[1])


@pytest.mark.parametrize("from_base", [False, True])
def test_a_metric_that_is_no_longer_measured_is_missing(from_base: bool) -> None:
    before = entry(size_bytes=size(1), memory_bytes=METRICS["memory_bytes"].of(1))
    findings = compare(entry(size_bytes=size(1)), holding(before, from_base=from_base))
    assert [(finding.metric, finding.verdict) for finding in findings] == [
        ("size_bytes", "ok"),
        ("memory_bytes", "missing"),
    ]


def test_a_metric_that_this_machine_cannot_measure_is_excused() -> None:
    now = replace(entry(), unmeasured={"size_bytes": "no scales"})
    assert compare(now, stored(size_bytes=size(1))) == []


@pytest.mark.parametrize(
    ("skipped", "said"),
    [
        ({}, "The base has no bench_size[fp32]"),
        (
            {"no torchao": ("fp32", "other")},
            "The base has no bench_size[fp32] (skipped: no torchao)",
        ),
        ({"no torchao": ("other",)}, "The base has no bench_size[fp32]"),
    ],
)
def test_what_a_base_does_not_know_is_new(skipped: dict[str, tuple[str, ...]], said: str) -> None:
    base = Baseline(Path(), {}, from_base=True, skipped=skipped)
    (finding,) = compare(entry(size_bytes=size(1)), base)
    assert finding.verdict == "new"
    assert finding.context == said


def predictions(wrong: list[int], images: str = "all") -> Ranks:
    values = np.zeros(10_000, np.uint8)
    values[wrong] = 1
    return Ranks(images, values)


def accuracy(ranks: Ranks) -> Entry:
    top1 = 100 * float((ranks.values == 0).mean())
    return replace(entry(top1=METRICS["top1"].of(top1)), by_image=ranks)


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
    assert f"{lost} images lost and {won} won of 10000" in line(finding)


def test_predictions_for_other_images_are_not_compared() -> None:
    baseline = holding(accuracy(predictions([], "others")))
    (finding,) = compare(accuracy(predictions([])), baseline)
    assert finding.verdict == "missing"
    assert "other test images" in line(finding)


@pytest.mark.parametrize("shared", ["another length", "none"])
def test_images_that_can_not_be_paired_are_compared_by_value(shared: str) -> None:
    before, now = predictions([]), predictions([1])
    if shared == "another length":
        now = Ranks(now.images, now.values[:-1])
    else:
        now = Ranks(now.images, np.full_like(now.values, NOT_EVALUATED))
    top1 = {"top1": METRICS["top1"].of(50.0)}
    worse = replace(entry(**top1), by_image=now)
    (finding,) = compare(worse, holding(accuracy(before)))
    assert finding.verdict == "regressed"
    assert "images lost" not in line(finding)


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["ok", "improved", "new"], 0),
        (["ok", "missing", "undecided", "regressed"], 1),
        (["ok", "missing"], 3),
        (["ok", "undecided"], 3),
        ([], 3),
    ],
)
def test_no_answer_is_not_a_pass(verdicts: list[Verdict], status: int) -> None:
    findings = [Finding(KEY, "bench[fp32]", "m", verdict, "", "") for verdict in verdicts]
    assert gate.exit_status(findings) == status


def test_what_a_run_lacks_is_missing_only_from_a_baseline_that_has_it() -> None:
    now = entry(size_bytes=size(1))
    lacking = replace(now, variant="static-int8")
    gone = tuple(
        Finding(key, "bench_size", metric, "missing", "", "")
        for key in (lacking.key, lacking.key._replace(variant="other"))
        for metric in ("size_bytes", "top1")
    )
    run = replace(gate.Run.from_entries([now]), gone=gone)
    baseline = Baseline(Path("b.json"), {now.key: now, lacking.key: lacking})
    findings = gate.compare_run(run, baseline, TOLERANCES)
    assert [(each.key, each.metric, each.verdict) for each in findings] == [
        (now.key, "size_bytes", "ok"),
        (lacking.key, "size_bytes", "missing"),
    ]
    assert gate.keys_to_accept(run, baseline, TOLERANCES) == set(), "there is nothing to store"
    (finding,) = gate.compare_run(run, None, TOLERANCES)
    assert finding.verdict == "missing"
    assert gate.keys_to_accept(run, None, TOLERANCES) == {now.key}


def test_findings_come_in_the_order_of_the_run_then_what_it_lacks() -> None:
    names = ["operator_calls", "size_bytes", "memory_bytes"]
    metrics = {name: METRICS[name].of(1) for name in names}
    before = stored(
        memory_bytes=METRICS["memory_bytes"].of(1),
        sqnr_db=METRICS["sqnr_db"].of(1),
        operator_calls=METRICS["operator_calls"].of(1),
    )
    findings = compare(entry(**metrics), before)
    assert [(each.metric, each.verdict) for each in findings] == [
        ("operator_calls", "ok"),
        ("size_bytes", "new"),
        ("memory_bytes", "ok"),
        ("sqnr_db", "missing"),
    ]
