from pathlib import Path

from qmodels import report
from qmodels.gate import Baseline, Entry, Finding, Tolerances
from qmodels.gate.baseline import Made
from qmodels.metric import measured

MADE = Made("2026-01-01", "abc123", {"torch": "2.15.0"}, "hosthosthost")
NAME = "benches/bench_size.py::bench_size[fp32]"


def test_a_baseline_is_who_made_it_and_a_line_a_metric() -> None:
    metrics = {
        "size_bytes": measured("size_bytes", 5.43e6),
        "latency_ratio": measured("latency_ratio", 0.25, samples=(-1.4, -1.3)),
    }
    baseline = Baseline(Path("b.json"), {NAME: Entry("fp32", {}, metrics, MADE)})
    lines = report.stored(baseline, Tolerances({"size_bytes": {"tolerance": 0.001}})).splitlines()
    assert lines[0] == "b.json"
    assert "2026-01-01 at abc123" in lines[1]
    assert "1 entries; torch 2.15.0" in lines[1]
    assert lines[2].split() == [
        "bench_size[fp32]",
        "size_bytes",
        "5.430",
        "MB",
        "tolerance",
        "0.001",
    ]
    assert "shown only, 2 processes" in lines[3]


def test_findings_are_counted_by_verdict() -> None:
    found = [Finding("a", "m", verdict, "") for verdict in ("ok", "ok", "regressed", "missing")]
    assert report.counted(found) == "2 ok, 1 regressed, 0 improved, 1 missing"
