import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmodels import gate
from qmodels.errors import UserError
from qmodels.gate import Baseline, Entry
from qmodels.metric import Metric

NAME = "benches/bench_size.py::bench_size[fp32]"
CONDITIONS = {
    "machine_class": "linux-x86_64-avx2",
    "engine": "eager",
    "architecture": "resnet34",
    "width": 8,
    "dataset": "digits",
    "images": None,
    "threads": 1,
    "batch_size": 1,
}


def entry(**metrics: Metric) -> Entry:
    return Entry("fp32", CONDITIONS, metrics)


def stored(**metrics: Metric) -> Baseline:
    return Baseline(Path("baselines/file.json"), {NAME: entry(**metrics)})


def size(value: float, ci: tuple[float, float] | None = None) -> Metric:
    return Metric(value, "bytes", "lower", 0.1, ci)


def top1(value: float) -> Metric:
    return Metric(value, "%", "higher", 0.5)


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        (size(100), size(100), "ok"),
        (size(109), size(100), "ok"),
        (size(111), size(100), "regressed"),
        (size(89), size(100), "improved"),
        (top1(66.0), top1(66.4), "ok"),
        (top1(65.8), top1(66.4), "regressed"),
        (top1(67.0), top1(66.4), "improved"),
        # An estimate counts only where its whole interval is beyond the tolerance.
        (size(115, (105, 125)), size(100), "ok"),
        (size(115, (111, 125)), size(100), "regressed"),
        (size(85, (80, 95)), size(100), "ok"),
        (size(85, (80, 89)), size(100), "improved"),
    ],
)
def test_verdicts(now: Metric, before: Metric, verdict: str) -> None:
    (finding,) = gate.compare(NAME, entry(it=now), stored(it=before))
    assert finding.verdict == verdict


def test_a_regression_is_one_line_with_everything_needed() -> None:
    (finding,) = gate.compare(NAME, entry(size_bytes=size(2e6)), stored(size_bytes=size(1e6)))
    assert finding.line == (
        "size_bytes of bench_size[fp32] regressed: 2.000 MB now, 1.000 MB in the baseline, "
        "tolerance 100.0 kB (baselines/file.json); if that is intended, accept it with "
        "--qmodels-update-baseline"
    )


def test_the_tolerance_is_the_baselines_so_that_a_run_cannot_widen_it() -> None:
    loose = replace(size(150), tolerance=9.0)
    (finding,) = gate.compare(NAME, entry(it=loose), stored(it=size(100)))
    assert finding.verdict == "regressed"


@given(
    before=st.floats(1, 1e9),
    now=st.floats(1, 1e9),
    tolerance=st.floats(0, 1),
    better=st.sampled_from(["lower", "higher"]),
)
def test_what_regresses_one_way_never_improves_the_same_way(
    before: float, now: float, tolerance: float, better: Any
) -> None:
    def verdict(direction: Any) -> str:
        metrics = [Metric(value, "bytes", direction, tolerance) for value in (now, before)]
        (finding,) = gate.compare(NAME, entry(it=metrics[0]), stored(it=metrics[1]))
        return finding.verdict

    opposite = {"ok": "ok", "regressed": "improved", "improved": "regressed"}
    other = "higher" if better == "lower" else "lower"
    assert verdict(other) == opposite[verdict(better)]
    assert gate.compare(NAME, entry(it=size(before)), stored(it=size(before)))[0].verdict == "ok"


def test_what_is_not_gated_is_not_compared() -> None:
    free = replace(size(1e9), tolerance=None)
    assert gate.compare(NAME, entry(it=free), stored(it=replace(free, value=1))) == []
    assert gate.compare(NAME, entry(it=free), None) == []


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        (None, "no run is stored for digits, resnet34, width 8 on linux-x86_64-avx2"),
        (Baseline(Path("b.json"), {}), "b.json has no entry benches/bench_size.py"),
        (stored(other=size(1)), "has the entry without it"),
        (stored(it=replace(size(1), tolerance=None)), "has the entry without it"),
    ],
)
def test_what_the_baseline_lacks_is_missing_and_says_so(
    baseline: Baseline | None, said: str
) -> None:
    finding = gate.compare(NAME, entry(it=size(1)), baseline)[0]
    assert finding.verdict == "missing"
    assert said in finding.line
    assert "--qmodels-update-baseline" in finding.line


def test_a_metric_that_is_no_longer_measured_is_missing() -> None:
    findings = gate.compare(NAME, entry(it=size(1)), stored(it=size(1), gone=size(1)))
    assert [(one.metric, one.verdict) for one in findings] == [("it", "ok"), ("gone", "missing")]


@pytest.mark.parametrize("condition", gate.CONDITIONS)
def test_other_conditions_are_not_compared(condition: str) -> None:
    now = Entry("fp32", {**CONDITIONS, condition: "another"}, {"it": size(1)})
    (finding,) = gate.compare(NAME, now, stored(it=size(1)))
    assert finding.verdict == "missing"
    assert condition in finding.line


def test_vanished_benchmarks_are_named_unless_excused() -> None:
    baseline = Baseline(Path("b.json"), {"a": entry(), "b": entry(), "c": entry()})
    assert gate.vanished(baseline, ran=["a"], excused=["c"]) == ["b"]
    assert gate.vanished(None, ran=[], excused=[]) == []


def run_record(*names: str, machine_class: str = "linux-x86_64-avx2") -> dict[str, Any]:
    metrics = {"it": size(1).as_record()}
    benchmarks = [
        {"fullname": name, "extra_info": {**CONDITIONS, "variant": "fp32", "metrics": metrics}}
        for name in names
    ]
    return {"machine_info": {"machine_class": machine_class}, "benchmarks": benchmarks}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "class" / "file.json"
    assert gate.write_baseline(path, run_record("b", "a")) == 0
    baseline = gate.read_baseline(path, "linux-x86_64-avx2")
    assert baseline is not None
    assert list(baseline.entries) == ["a", "b"]
    assert baseline.entries["a"].metrics == {"it": size(1)}
    assert gate.read_baseline(tmp_path / "none.json", "any") is None


def test_a_partial_run_keeps_the_other_entries(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    gate.write_baseline(path, run_record("a", "b"))
    changed = run_record("b")
    changed["benchmarks"][0]["extra_info"]["metrics"]["it"]["value"] = 7.0
    assert gate.write_baseline(path, changed) == 1
    baseline = gate.read_baseline(path, "linux-x86_64-avx2")
    assert baseline is not None
    assert [one.metrics["it"].value for one in baseline.entries.values()] == [1.0, 7.0]


def test_a_baseline_of_another_machine_class_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    gate.write_baseline(path, run_record("a"))
    with pytest.raises(UserError, match="made on linux-x86_64-avx2, and this is linux-x86_64-amx"):
        gate.read_baseline(path, "linux-x86_64-amx")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"benchmarks": [{"fullname": "a", "extra_info": {}}]}',
        '{"benchmarks": 3}',
        json.dumps(run_record("a")).replace('"lower"', '"sideways"'),
        json.dumps(run_record("a")).replace('"value": 1', '"value": "much"'),
    ],
)
def test_a_damaged_baseline_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(UserError, match="damaged.*restore it from git") as caught:
        gate.read_baseline(path, "linux-x86_64-avx2")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
