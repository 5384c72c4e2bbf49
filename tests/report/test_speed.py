import pytest

from qmodels import report
from qmodels.gate import Entry, Run
from qmodels.measure.metrics import METRICS
from qmodels.report.speed import speeds
from tests.entries import entry


def benchmark(variant: str, size: int, arithmetic: str, **metrics: float) -> Entry:
    measured = {name: METRICS[name].of(value) for name, value in metrics.items()}
    return entry("bench_latency", variant, size, arithmetic=arithmetic, metrics=measured)


def run(*entries: Entry) -> Run:
    return Run.from_entries(entries)


SIZE = benchmark("size", 1, "int8", size_bytes=1.0)
RUN = run(
    benchmark("fp32", 1, "float32", latency_ms=40.0),
    benchmark("compiled", 1, "float32", latency_ms=20.0, latency_ratio=0.5),
    benchmark("int8", 1, "int8", latency_ms=10.0, latency_ratio=0.25),
    benchmark("int8", 8, "int8", latency_ms=60.0, latency_ratio=0.3),
    SIZE,
)


def test_each_variant_is_compared_with_eager_and_the_best_float() -> None:
    one_image = speeds(RUN)[1]
    assert one_image["int8"].over_fp32 == pytest.approx(4)
    assert one_image["int8"].over_best == pytest.approx(2)
    assert one_image["compiled"].over_best == pytest.approx(1)
    assert one_image["fp32"].over_best == pytest.approx(0.5)


def test_the_table_has_a_group_of_columns_a_batch_size() -> None:
    lines = report.speed_table(RUN).splitlines()
    assert len(lines) == 5
    assert "1 image (ms)" in lines[0]
    assert "8 images (ms)" in lines[0]
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        *("fp32", "40.00", "1.00", "0.50"),
        *("-", "-", "-"),
    ]
    assert report.speed_table(run(SIZE)) == ""


def test_a_variant_that_takes_longer_for_fewer_images_is_odd() -> None:
    odd = run(
        benchmark("compiled", 1, "float32", latency_ms=80.04, latency_ratio=2.0),
        benchmark("compiled", 8, "float32", latency_ms=15.0, latency_ratio=0.5),
        *(benchmark("int8", size, "int8", latency_ms=float(size)) for size in (1, 8)),
        benchmark("only-one-image", 1, "int8", latency_ms=90.0),
    )
    assert report.oddities(odd) == [
        "odd: compiled takes 80.0 ms for 1 image, 15.0 ms for 8 (see `qmodels layers`)"
    ]
    assert report.oddities(RUN) == []
