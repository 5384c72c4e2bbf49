"""The study's table beside a run's. Less than a second."""

from pathlib import Path
from typing import Any

import pytest

from qmodels import gate, report
from qmodels.gate import Entry, Run
from qmodels.measure.metrics import METRICS
from qmodels.measure.operators import Row
from qmodels.report import study
from tests.entries import entry


def benchmark(variant: str, bench: str, details: Any = None, **metrics: float) -> Entry:
    return entry(
        bench,
        variant,
        network="cifar100-resnet34-w64",
        machine_class="linux-x86_64-amx",
        engine="x86",
        threads=2,
        metrics={name: METRICS[name].of(value) for name, value in metrics.items()},
        **(details or {}),
    )


PROFILE = (
    Row("aten::empty", 2 * 2**20, 0, 38),
    Row("aten::_empty_affine_quantized", 2**20, 0, 55),
    Row("quantized::conv2d_relu", 2**19, 0, 17),
    Row("aten::clone", 2**19, 0, 1),
)
RUN = Run.from_entries(
    [
        benchmark("fp32", "bench_size", size_bytes=85.41e6),
        benchmark("fp32", "bench_latency", latency_ms=40.0),
        benchmark("fp32", "bench_accuracy", {"images": 2000}, top1=74.93, top5_error=6.53),
        benchmark("static-int8-jit", "bench_latency", latency_ms=8.0, latency_ratio=0.2),
        benchmark("static-int8-jit", "bench_memory", {"profile": PROFILE}),
        benchmark("qat-int8", "bench_accuracy", {"images": 2000}, top1=74.96, top5_error=6.39),
    ]
)


def rows(variant: str) -> dict[str, study.Quantity]:
    (model,) = [model for model in study.MODELS if model.variant == variant]
    return {quantity.name: quantity for quantity in study.quantities(model, RUN)}


def test_each_number_stands_beside_the_studys() -> None:
    fp32, int8 = rows("fp32"), rows("static-int8-jit")
    assert fp32["Size (MB)"].cells() == ["Size (MB)", "85.5", "85.4", "-0.1"]
    assert fp32["Top-1 (%)"].cells() == ["Top-1 (%)", "73.15", "74.93", "+1.78"]
    assert fp32["Speed-up"].here == 1.0
    assert int8["CPU (ms)"].here == 8.0
    assert int8["Speed-up"].study == pytest.approx(2.61, abs=0.01)
    assert int8["Speed-up"].here == pytest.approx(5.0)
    assert int8["Size (MB)"].cells() == ["Size (MB)", "21.6", "-", "-"], "not measured"


def test_memory_is_the_sum_that_the_study_made() -> None:
    assert rows("static-int8-jit")["Memory (Mb)"].here == pytest.approx(3.5)
    assert rows("fp32")["Memory (Mb)"].here is None
    for model in study.MODELS:
        total = sum(model.operators[name][0] for name in model.memory_rows)
        assert total == pytest.approx(model.memory_mb, abs=0.015), "the study's own numbers"


def test_the_report_names_what_differs() -> None:
    text = report.study_report(RUN, "recipe wide-cpu")
    assert "Here: recipe wide-cpu." in text
    assert "Accuracy: 10,000 test images. Here: 2,000." in text
    assert "Here: linux-x86_64-amx, 2 threads." in text
    assert "Here: engine x86, ranges from histograms" in text
    assert "Here `qat-int8` has 74.96 % top-1 and 6.39 % top-5 error." in text
    assert "| `quantized::conv2d_relu`" in text
    assert "| Dynamic Float16" in text
    assert "Training: 60 epochs, batches of 32, learning rate 0.1 throughout" in text
    assert "### The profiler's tables\n\n| Static Int8 (JIT)" in text


def test_a_stored_run_has_the_same_report(tmp_path: Path) -> None:
    (stored,) = gate.accept(tmp_path, RUN)
    assert report.study_report(gate.read_run(stored.path), None) == report.study_report(RUN, None)


def test_a_run_without_the_profiler_has_no_heading_for_its_tables() -> None:
    entries = [entry for entry in RUN.entries.values() if not entry.profile]
    text = report.study_report(Run.from_entries(entries), None)
    assert "### What differs" in text
    assert "The profiler's tables" not in text
