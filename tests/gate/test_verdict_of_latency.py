"""Verdicts on latency: samples of processes, other hosts, a base in turn."""

import math
from dataclasses import replace

import pytest

from qmodels.measure.metric import Metric
from tests.entries import PROVENANCE
from tests.gate.entries import (
    compare,
    entry,
    holding,
    line,
    ratio,
    size,
    stored,
)


def test_another_python_is_as_another_host_for_latency() -> None:
    slower = ratio(0.6, count=4, confirmation=4)
    versions = {"python": "3.13.0", "torch": "2.15.0"}
    now = replace(entry(latency_ratio=slower), provenance=replace(PROVENANCE, versions=versions))
    (finding,) = compare(now, stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"
    assert "tolerance 30 %" in line(finding)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (ratio(0.50, count=4), "ok"),
        (ratio(0.54, count=4), "ok"),  # within 10 %
        (ratio(0.56, count=4, spread=0.2), "undecided"),  # too noisy for a verdict
        (ratio(0.60, count=4, confirmation=4), "regressed"),
        (ratio(0.42, count=4, confirmation=4), "improved"),
    ],
)
def test_ratios_are_held_process_by_process(now: Metric, verdict: str) -> None:
    (finding,) = compare(entry(latency_ratio=now), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == verdict
    assert "this host" in line(finding)


def test_a_ratio_whose_confirmation_ran_out_of_processes_is_undecided() -> None:
    noisy = ratio(0.55, count=5, spread=0.3).samples
    suspected = replace(ratio(0.6, count=4), confirmation=noisy)
    (finding,) = compare(entry(latency_ratio=suspected), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "undecided"
    assert "run it again" in line(finding)


def test_a_ratio_that_was_not_found_again_is_ok() -> None:
    suspected = replace(ratio(0.6, count=4), confirmation=ratio(0.5, count=5).samples)
    (finding,) = compare(entry(latency_ratio=suspected), stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"


def test_a_stored_run_of_another_host_has_a_tolerance_of_its_own_and_says_so() -> None:
    slower = ratio(0.6, count=4, confirmation=4)
    elsewhere = replace(entry(latency_ratio=slower), provenance=replace(PROVENANCE, host="another"))
    (finding,) = compare(elsewhere, stored(latency_ratio=ratio(0.5)))
    assert finding.verdict == "ok"
    assert "tolerance 30 %" in line(finding)
    assert "another host" in line(finding)


@pytest.mark.parametrize(
    ("change", "verdict"), [(0.05, "regressed"), (0.0, "ok"), (-0.05, "improved")]
)
def test_beside_a_base_no_stored_run_is_needed_for_latency(change: float, verdict: str) -> None:
    metric = replace(ratio(math.exp(change), count=4, confirmation=4, spread=0.005), unit="x base")
    now = entry(latency_change=metric, latency_ratio=ratio(9.0), size_bytes=size(1))
    findings = {finding.metric: finding for finding in compare(now, None)}
    assert findings["latency_change"].verdict == verdict
    assert "8 pairs of processes). Measured in turn" in line(findings["latency_change"])
    assert findings["size_bytes"].verdict == "missing"
    assert "latency_ratio" not in findings
    in_turn = entry(latency_change=metric)
    (finding,) = compare(in_turn, stored(latency_ratio=ratio(9.0)))
    assert finding.metric == "latency_change", "it replaces the ratio"


@pytest.mark.parametrize("processor", ["AuthenticAMD 25 17", "unknown"])
def test_a_stored_run_of_another_processor_is_not_compared(processor: str) -> None:
    who = replace(PROVENANCE, host="another", processor=processor)
    now = replace(entry(latency_ratio=ratio(2.0, count=4, confirmation=4)), provenance=who)
    before = replace(
        entry(latency_ratio=ratio(0.5)),
        provenance=replace(PROVENANCE, processor=processor.replace("AMD", "ARM")),
    )
    assert compare(now, holding(before)) == []
    assert compare(replace(now, provenance=PROVENANCE), holding(before)) != []
