"""Which entries measured the same quantity: conditions, versions, machine classes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from qmodels.gate import Baseline, Entry
from qmodels.gate.entry import CONDITIONS
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import METRICS
from qmodels.variants import all_variants
from tests.eager import needs_eager_quantization
from tests.entries import PROVENANCE
from tests.gate.entries import (
    CLASS,
    OTHER,
    compare,
    entry,
    holding,
    line,
    size,
    stored,
)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_other_conditions_are_not_compared(condition: str) -> None:
    other: dict[str, Any] = {condition: "another"}
    now = replace(entry(size_bytes=size(1)), **other)
    (finding,) = compare(now, stored(size_bytes=size(1)))
    assert finding.verdict == "missing"
    assert "another" in line(finding)


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
    now = replace(entry(size_bytes=size(1)), provenance=replace(PROVENANCE, versions=versions))
    (finding,) = compare(now, stored(size_bytes=size(1)))
    assert finding.verdict == verdict
    assert verdict == "ok" or "stale" in line(finding)
    assert verdict == "ok" or "-c baselines/constraints.txt" in line(finding)


def test_local_labels_of_runtimes_are_no_other_versions() -> None:
    now = replace(entry(size_bytes=size(1)), runtime="torchao 0.18.0+cpu, onnx 1.23")
    before = replace(now, runtime="torchao 0.18.0, onnx 1.23")
    (finding,) = compare(now, holding(before))
    assert finding.verdict == "ok"


def test_memory_of_another_python_is_not_compared() -> None:
    twice = entry(memory_bytes=METRICS["memory_bytes"].of(2e6), size_bytes=size(2e6))
    now = replace(
        twice, provenance=replace(PROVENANCE, versions={"python": "3.13.0", "torch": "2.15.0"})
    )
    before = stored(memory_bytes=METRICS["memory_bytes"].of(1e6), size_bytes=size(1e6))
    assert [finding.metric for finding in compare(now, before)] == ["size_bytes"]
    assert [finding.metric for finding in compare(twice, before)] == ["memory_bytes", "size_bytes"]


def on_class(machine_class: str, engine: str, metrics: dict[str, Metric], arithmetic: str) -> Entry:
    backends = (variant.backend for variant in all_variants().values())
    backend = next(backend for backend in backends if backend.engine == engine)
    return replace(
        entry(**metrics),
        machine_class=machine_class,
        arithmetic=arithmetic,
        engine=engine,
        kernel_library=backend.kernel_library(machine_class),
        portable=backend.portable,
    )


def of_other_class(engine: str, metrics: dict[str, Metric], arithmetic: str = "float32") -> Entry:
    return on_class(OTHER, engine, metrics, arithmetic)


def here_on(engine: str, metrics: dict[str, Metric], arithmetic: str = "float32") -> Entry:
    return on_class(CLASS, engine, metrics, arithmetic)


def x86(*values: object) -> ParameterSet:
    """A case of the engine x86, whose variants name their kernels."""
    return pytest.param("x86", *values, marks=needs_eager_quantization)


@pytest.mark.parametrize(
    ("engine", "metric", "gated"),
    [
        ("onnxruntime", "size_bytes", True),
        ("inductor", "size_bytes", False),  # machine code
        ("eager", "operator_calls", True),
        x86("operator_calls", False),  # fbgemm there, oneDNN here
        ("onednn", "memory_bytes", False),
        ("onednn", "latency_ratio", False),
    ],
)
def test_another_class_gates_what_both_compute_alike(engine: str, metric: str, gated: bool) -> None:
    worse, better = (replace(METRICS[metric].of(value), samples=()) for value in (20.0, 10.0))
    now = here_on(engine, {metric: worse})
    findings = compare(now, holding(of_other_class(engine, {metric: better})))
    assert [finding.verdict for finding in findings] == (["regressed"] if gated else [])
    assert all("another class" in line(finding) for finding in findings)


@pytest.mark.parametrize(("arithmetic", "verdict"), [("float32", "regressed"), ("int8", "ok")])
@needs_eager_quantization
def test_int8_accuracy_of_another_class_has_a_tolerance_of_its_own(
    arithmetic: str, verdict: str
) -> None:
    now = here_on("x86", {"top1": METRICS["top1"].of(66.1)}, arithmetic)
    before = of_other_class("x86", {"top1": METRICS["top1"].of(66.4)}, arithmetic)
    (finding,) = compare(now, holding(before))
    assert finding.verdict == verdict


@pytest.mark.parametrize("metric", ["sqnr_db", "runtime_sqnr_db"])
@pytest.mark.parametrize(
    ("arithmetic", "saturates", "verdicts"),
    [
        ("int8", (True, True), ["regressed"]),
        ("int8", (True, False), []),
        ("int8", (False, True), []),
        ("float32", (True, False), ["regressed"]),  # no bit is lost there
    ],
)
def test_noise_is_compared_where_both_classes_have_as_many_bits(
    metric: str, arithmetic: str, saturates: tuple[bool, bool], verdicts: list[str]
) -> None:
    now = here_on("onnxruntime", {metric: METRICS[metric].of(20.0)}, arithmetic)
    before = of_other_class("onnxruntime", {metric: METRICS[metric].of(26.0)}, arithmetic)
    now, before = (
        replace(each, int8_saturates=value)
        for each, value in zip((now, before), saturates, strict=True)
    )
    assert [finding.verdict for finding in compare(now, holding(before))] == verdicts


@pytest.mark.parametrize(
    ("changes", "gated"),
    [
        ({}, {"top1", "size_bytes", "memory_bytes", "operator_calls", "sqnr_db"}),
        ({"kernel_library": "fbgemm"}, {"top1", "size_bytes", "sqnr_db"}),
        ({"int8_saturates": True}, {"top1", "size_bytes", "operator_calls"}),
    ],
)
def test_other_kernels_on_one_class_are_compared_as_another_class(
    changes: dict[str, Any], gated: set[str]
) -> None:
    worse = {"top1": 60.0, "size_bytes": 2e6, "memory_bytes": 2e6, "operator_calls": 9.0}
    better = {"top1": 70.0, "size_bytes": 1e6, "memory_bytes": 1e6, "operator_calls": 8.0}
    now, before = (
        here_on("onednn", {name: METRICS[name].of(value) for name, value in each.items()}, "int8")
        for each in ({**worse, "sqnr_db": 20.0}, {**better, "sqnr_db": 30.0})
    )
    now = replace(now, int8_saturates=False)
    findings = compare(now, holding(replace(before, **{"int8_saturates": False, **changes})))
    assert {f.metric for f in findings if f.verdict == "regressed"} == gated
    assert all(("another class" in line(finding)) == bool(changes) for finding in findings)


def test_what_is_better_than_on_another_class_is_no_improvement() -> None:
    metrics = {
        "top1": METRICS["top1"].of(67.0),
        "operator_calls": METRICS["operator_calls"].of(9),
    }
    before = of_other_class(
        "eager", {**metrics, "operator_calls": METRICS["operator_calls"].of(10)}
    )
    before = replace(before, metrics={**before.metrics, "top1": METRICS["top1"].of(66.0)})
    findings = compare(here_on("eager", metrics), holding(before))
    assert [finding.verdict for finding in findings] == ["ok", "ok"]
    assert not any("accept it" in line(finding) for finding in findings)
    same_class = compare(here_on("eager", metrics), holding(replace(before, machine_class=CLASS)))
    assert [finding.verdict for finding in same_class] == ["improved", "improved"]


def test_what_another_class_does_not_have_is_new_there() -> None:
    before = replace(entry(), variant="other", machine_class=OTHER)
    for partial_for, verdict in (([CLASS], "new"), ([], "missing")):
        baseline = Baseline(
            Path("b.json"), {before.key: before}, partial_for=frozenset(partial_for)
        )
        (finding,) = compare(entry(size_bytes=size(1)), baseline)
        assert finding.verdict == verdict


def test_other_weights_are_compared_and_beside_a_base_other_packages_too() -> None:
    older = replace(PROVENANCE, versions={"python": "3.11.7", "torch": "2.14.0"})
    now = entry(size_bytes=size(2))
    (finding,) = compare(
        now, holding(replace(entry(size_bytes=size(1)), provenance=older), from_base=True)
    )
    assert finding.verdict == "regressed"
    (finding,) = compare(now, holding(replace(entry(size_bytes=size(1)), weights="others")))
    assert finding.verdict == "regressed"


@pytest.mark.parametrize(
    ("engine", "level", "other", "alike"),
    [
        ("eager", "avx2", "avx512_bf16", True),
        ("onnxruntime", "avx2", "avx512_bf16", True),
        x86("avx512_vnni", "avx512_bf16", True),
        x86("avx2", "avx512", True),  # fbgemm on both
        x86("avx2", "avx512_bf16", False),
        ("onednn", "avx512_vnni", "avx512_bf16", True),
        ("onednn", "avx2", "avx512_bf16", False),
        ("onednn", "avx512_bf16", "amx", False),
        ("inductor", "avx512_vnni", "avx512_bf16", False),
    ],
)
def test_two_classes_count_alike_where_the_same_kernels_run(
    engine: str, level: str, other: str, alike: bool
) -> None:
    calls = {
        name: on_class(
            f"linux-x86_64-{name}",
            engine,
            {"operator_calls": METRICS["operator_calls"].of(value)},
            "float32",
        )
        for name, value in ((level, 20.0), (other, 10.0))
    }
    findings = compare(calls[level], holding(calls[other]))
    assert [finding.verdict for finding in findings] == (["regressed"] if alike else [])
