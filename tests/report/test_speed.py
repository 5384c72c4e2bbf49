from typing import Any

import pytest

from qmodels import report
from qmodels.metric import measured
from qmodels.report.speed import speeds


def benchmark(variant: str, size: int, arithmetic: str, **metrics: float) -> dict[str, Any]:
    records = {name: measured(name, value).as_record() for name, value in metrics.items()}
    about = {"variant": variant, "batch_size": size, "arithmetic": arithmetic, "metrics": records}
    return {"fullname": f"{variant}-{size}", "extra_info": about}


RUN = {
    "benchmarks": [
        benchmark("fp32", 1, "float32", latency_ms=40.0, ceiling_share=0.4),
        benchmark("compiled", 1, "float32", latency_ms=20.0, latency_ratio=0.5),
        benchmark("int8", 1, "int8", latency_ms=10.0, latency_ratio=0.25, ceiling_share=0.9),
        benchmark("int8", 8, "int8", latency_ms=60.0, latency_ratio=0.3),
        benchmark("size", 1, "int8", size_bytes=1.0),
    ]
}


def test_each_variant_is_held_against_eager_and_the_best_float() -> None:
    found = speeds(RUN)[1]
    assert found["int8"].over_fp32 == pytest.approx(4)
    assert found["int8"].over_best == pytest.approx(2)
    assert found["compiled"].over_best == pytest.approx(1)
    assert found["fp32"].over_best == pytest.approx(0.5)


def test_the_table_has_a_group_of_columns_a_batch_size() -> None:
    lines = report.speed_table(RUN).splitlines()
    assert len(lines) == 5
    assert "1 image (ms)" in lines[0]
    assert "8 images (ms)" in lines[0]
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        *("fp32", "40.00", "1.00", "0.50", "40"),
        *("-", "-", "-", "-"),
    ]
    assert report.speed_table({"benchmarks": RUN["benchmarks"][-1:]}) == ""
