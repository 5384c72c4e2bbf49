from pathlib import Path

from qmodels import report
from qmodels.gate import Accepted, Baseline, Finding, Key, Tolerances
from qmodels.gate.finding import Verdict
from qmodels.measure.metrics import METRICS
from tests.entries import entry

KEY = Key("digits-resnet34-w8", "bench_size", "fp32", 1)


def test_a_baseline_is_who_made_it_and_a_line_a_metric() -> None:
    metrics = {
        "size_bytes": METRICS["size_bytes"].of(5.43e6),
        "latency_ratio": METRICS["latency_ratio"].of(0.25, samples=(-1.4, -1.3)),
    }
    baseline = Baseline(Path("b.json"), {KEY: entry("bench_size", "fp32", metrics=metrics)})
    lines = report.describe_baseline(
        baseline, Tolerances.decode({"size_bytes": {"tolerance": 0.001}})
    ).splitlines()
    assert lines[0] == "b.json"
    assert "2026-01-01 at abc" in lines[1]
    assert "1 entries; python 3.11.7, torch 2.15.0" in lines[1]
    assert lines[2].split() == [
        "bench_size[fp32]",
        "size_bytes",
        "5.430",
        "MB",
        "tolerance",
        "0.001",
    ]
    assert "shown only, 2 processes" in lines[3]


def findings(*verdicts: Verdict) -> list[Finding]:
    return [Finding(KEY, "bench[fp32]", "m", verdict, "", "") for verdict in verdicts]


def test_findings_are_counted_by_verdict() -> None:
    assert report.count_findings(
        findings("ok", "ok", "regressed", "missing", "new", "undecided")
    ) == ("2 ok, 1 regressed, 0 improved, 1 undecided, 1 new, 1 missing")


def test_what_storing_a_run_did_is_told_in_lines() -> None:
    done = Accepted(Path("b.json"), (KEY,), 2, ("bench_size[gone]",), ("x not stored: y",))
    assert report.describe_accepted(done) == [
        "baseline updated: b.json, 1 entries; partial run: 2 other entries kept as they were",
        "dropped, as there are no such variants: bench_size[gone]",
        "x not stored: y",
    ]
    assert report.describe_accepted(Accepted(Path("b.json"), (), 2)) == [
        "baseline not updated: b.json is as it was"
    ]
