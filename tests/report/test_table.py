from dataclasses import replace

import pytest

from qmodels import report
from qmodels.gate import Entry, Key, Run
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import METRICS
from tests.entries import entry


def benchmark(bench: str, variant: str, batch_size: int, **metrics: float) -> Entry:
    return stored(Key("n", bench, variant, batch_size), **metrics)


def stored(key: Key, images: int | None = None, /, **metrics: float) -> Entry:
    values = {name: METRICS[name].of(value) for name, value in metrics.items()}
    network, bench, variant, batch_size = key
    return entry(bench, variant, batch_size, network=network, images=images, metrics=values)


SIZE, ACCURACY = Key("n", "size", "fp32", 1), Key("n", "accuracy", "fp32", 250)


RUN = Run.from_entries(
    [
        benchmark("size", "fp32", 1, size_bytes=85.5e6),
        benchmark("accuracy", "fp32", 250, top1=73.15, top5_error=6.75),
        benchmark("b8", "fp32", 8, latency_ms=200.0, latency_ratio=1.0),
        benchmark("b1", "fp32", 1, latency_ms=53.55, latency_ratio=1.0),
        benchmark("size", "static-int8", 1, size_bytes=21.6e6),
    ]
)


def test_a_row_a_variant_a_column_a_metric_of_batch_size_1() -> None:
    lines = report.summary_table(RUN, {}).splitlines()
    assert len(lines) == 4
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "fp32",
        "85.50",
        "73.15",
        "6.75",
        "53.55",
        "1.000",
    ]
    assert "| static-int8 |" in lines[3]
    assert "21.60" in lines[3]


def test_metrics_of_own_benches_are_those_of_batch_size_1() -> None:
    def entry(batch_size: int, value: float) -> Entry:
        before = stored(Key("n", "bench_own", "fp32", batch_size))
        return replace(before, metrics={"latency_p99": Metric(value, "ms", "lower")})

    for sizes in ((1, 8), (8, 1)):
        run = Run.from_entries([entry(size, float(size)) for size in sizes])
        assert report.summary_table(run, {}).splitlines()[-1].split()[-2] == "1.000"


def test_every_line_is_as_wide_as_the_others() -> None:
    lines = report.summary_table(RUN, {}).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_changes_against_the_baseline_are_in_parentheses() -> None:
    before = {
        SIZE: stored(SIZE, size_bytes=85.5e6),
        ACCURACY: stored(ACCURACY, top1=73.65),
    }
    row = report.summary_table(RUN, before).splitlines()[2]
    assert "85.50 (=)" in row
    assert "73.15 (-0.50)" in row
    assert "6.75 |" in row


def test_accuracy_of_other_images_has_no_change() -> None:
    before = {ACCURACY: stored(ACCURACY, 10_000, top1=73.65)}
    row = report.summary_table(RUN, before).splitlines()[2]
    assert "73.15 |" in row


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("static-int8_jit 1.4 MB (+0.1), bench_size[fp32]", None),
        ("<script>alert(1)</script>", "` <script>alert(1)</script> `"),
        ("[x](https://evil.example)", "` [x](https://evil.example) `"),
        ("@everyone", "` @everyone `"),
        ("a|b\n\n# c", "` a\\|b # c `"),
        ("`@b` ``c", "``` `@b` ``c ```"),
    ],
)
def test_markup_of_a_record_is_a_code_span(text: str, shown: str | None) -> None:
    assert report.escape(text) == (shown or text)
