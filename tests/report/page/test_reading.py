"""What a person reads on a page, and what its charts draw. Two seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from qmodels.gate import Entry, Failure, Finding
from qmodels.gate.finding import Verdict
from qmodels.report import page
from qmodels.report.page import content
from tests.report.page.reader import Reader, says
from tests.report.page.records import run, times

READ = Path(__file__).with_name("read.txt")
MEASURED = replace(run(), failures=(Failure("bench_size[static]", "it broke", "static"),))
STORED = times(0.8, MEASURED)
OTHER = times(0.9, run(machine_class="linux-arm64"))


def finding(entry: Entry, metric: str) -> Finding:
    verdict: Verdict = "regressed" if entry.variant == "onnx-int8" else "ok"
    return Finding(
        entry.key, entry.name, metric, verdict, f"{metric} from 1 to 2 (rule)", "Compared with it"
    )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    path = tmp_path_factory.mktemp("page") / "page.html"
    findings = [
        finding(entry, metric)
        for entry in MEASURED.entries.values()
        for metric in ("size_bytes", "top1")
        if metric in entry.metrics
    ]
    about = ["linux-x86_64-avx2, torch 2.15.0", "compared with a stored run"]
    runs = [MEASURED, OTHER]
    page.write_page(path, runs, findings, STORED.entries, about=about, max_drop=0.5)
    return Reader(path.read_text())


def test_it_reads_as_approved(reader: Reader, tmp_path: Path) -> None:
    """Each line of text, each label of a chart and each point, as a person approved them."""
    text = "\n".join([*reader.lines, *reader.chart_lines()]) + "\n"
    now = tmp_path / READ.name
    now.write_text(text, encoding="utf-8")
    assert text.splitlines() == READ.read_text(encoding="utf-8").splitlines(), (
        f"if this is meant, read {now}, and copy it to {READ}"
    )


@pytest.mark.parametrize("variant", ["fp32", "static-int8-jit", "onnx-int8"])
def test_numbers_are_those_of_the_record(variant: str, reader: Reader) -> None:
    entries = [entry for entry in MEASURED.entries.values() if entry.variant == variant]
    recorded = [(entry, name) for entry in entries for name in entry.metrics]
    _, *rows = reader.tables[f"Metrics of {variant}"]
    assert len(rows) == len(recorded)
    for (entry, name), (bench, title, value, interval, before, change, _) in zip(
        recorded, rows, strict=True
    ):
        metric, stored = entry.metrics[name], STORED.entries[entry.key].metrics[name]
        assert (bench, title) == (content.bench_title(entry.key), name)
        assert says(value, [metric.value])
        level = [100 * metric.ci_level] if metric.ci_level else []
        assert says(interval, [*metric.ci, *level] if metric.ci else [])
        assert says(before, [stored.value])
        moved = metric.value - stored.value
        if not metric.absolute and stored.value:
            moved *= 100 / stored.value
        assert says(change, [moved]) if moved else change == "="


@pytest.mark.parametrize(
    ("text", "values"),
    [("1.42 MB", [1_423_164]), ("36.0 kB", [36_012]), ("-0.30 to 0.10 points", [-0.3, 0.1])],
)
def test_a_text_says_rounded_numbers(text: str, values: list[float]) -> None:
    assert says(text, values)
    assert not says(text, [value * 1.02 for value in values])
    assert not says(text, [-value for value in values])
    assert not says(text, [*values, 1])
    assert not says(text, [])
