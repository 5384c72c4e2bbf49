import re
from dataclasses import replace

from qmodels import report
from qmodels.gate import Failure, Finding, Key, Run
from qmodels.gate.finding import Verdict
from qmodels.report.overview import overview
from tests.report.test_speed import benchmark, run

ACCURACY = replace(benchmark("int8", 250, "int8", top1=73.0, top1_drop=0.5), bench="bench_accuracy")
SIZE = replace(benchmark("int8", 1, "int8", size_bytes=1.5e6), bench="bench_size")
RUN = run(
    benchmark("fp32", 1, "float32", latency_ms=40.0),
    benchmark("compiled", 1, "float32", latency_ms=20.0, latency_ratio=0.5),
    benchmark("int8", 1, "int8", latency_ms=10.0, latency_ratio=0.25),
    benchmark("int8", 8, "int8", latency_ms=60.0, latency_ratio=0.3),
    ACCURACY,
    SIZE,
)


def finding(variant: str, verdict: Verdict, metric: str = "size_bytes") -> Finding:
    return Finding(Key("n", "bench_size", variant, 1), "", metric, verdict, metric, "")


def named(run: Run, *findings: Finding, failures: tuple[Failure, ...] = ()) -> dict[str, list[str]]:
    headings, *rows = overview(run, findings, failures)
    assert all(len(row) == len(headings) for row in rows)
    return {row[0]: row[1:] for row in rows}


def test_a_line_for_each_variant_the_fastest_first() -> None:
    rows = named(RUN)
    assert list(rows) == ["int8", "compiled", "fp32"]
    assert rows["int8"] == ["1.50", "73.00", "-0.50", "10.00", "60.00", "2.00", "3.33", "-"]
    assert rows["fp32"] == ["-", "-", "-", "40.00", "-", "0.50", "-", "-"]


def test_the_worst_verdict_counts() -> None:
    rows = named(
        RUN,
        finding("int8", "regressed"),
        finding("int8", "regressed", "top1"),
        finding("int8", "ok", "top5_error"),
        finding("fp32", "ok"),
        finding("fp32", "ok", "top1"),
        failures=(
            Failure("bench_size[compiled]", "broken", "compiled"),
            Failure("bench_size[gone]", "broken", "gone"),
        ),
    )
    verdicts = {name: cells[-1] for name, cells in rows.items()}
    assert verdicts == {
        "int8": "2 regressed",
        "compiled": "failed",
        "fp32": "ok",
        "gone": "failed",
    }


def test_a_variant_that_was_not_compared_has_no_verdict() -> None:
    assert named(RUN, finding("int8", "ok"))["fp32"][-1] == "-"


def test_only_a_terminal_gets_colours() -> None:
    findings = [finding("int8", "regressed")]
    plain = report.overview_text(RUN, findings)
    colored = report.overview_text(RUN, findings, color=True)
    assert "\x1b[" not in plain
    assert "\x1b[1;31mregressed" in colored
    escapes = re.sub(r"\x1b\[[\d;]*m", "", colored)
    assert [line.rstrip() for line in escapes.splitlines()] == plain.splitlines()


def test_names_are_no_markup() -> None:
    odd = benchmark("[red]x[/red]", 1, "int8", latency_ms=1.0)
    assert "[red]x[/red]" in report.overview_text(run(odd), ())
