"""A metric that is added to the table, as everything that derives from it sees it."""

from dataclasses import replace
from pathlib import Path

import pytest

from docs import metrics as table_of_docs
from qmodels import gate, report
from qmodels.gate import Run, comparable, read_tolerances
from qmodels.measure.metric import Definition
from qmodels.measure.metrics import METRICS
from qmodels.report.columns import explain_columns
from tests.gate.entries import OTHER, entry, stored

COPIED = Definition(
    "copied_bytes",
    "bytes",
    "lower",
    "copied in a forward",
    label="Copied (kB)",
    divisor=1e3,
    digits=1,
    depends_on=("kernels",),
    tolerances={
        "tolerance": 0.02,
        "other_class": 0.05,
        "variants": {"bf16": {"tolerance": 0.5}},
    },
)


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, COPIED.name, COPIED)


@pytest.mark.parametrize(("value", "verdict"), [(101e3, "ok"), (103e3, "regressed")])
def test_it_is_judged_by_its_tolerance(value: float, verdict: str, tmp_path: Path) -> None:
    before = stored(copied_bytes=COPIED.of(100e3))
    tolerances = read_tolerances(tmp_path)
    (finding,) = gate.compare(entry(copied_bytes=COPIED.of(value)), before, tolerances)
    assert finding.verdict == verdict
    # So it is by that of a repository, and of a variant.
    (tmp_path / "tolerances.toml").write_text("[copied_bytes]\ntolerance = 0.1\n")
    assert read_tolerances(tmp_path).tolerance("copied_bytes", "fp32", "float32") == 0.1
    assert tolerances.tolerance("copied_bytes", "bf16", "bfloat16") == 0.5


def test_it_is_not_compared_where_what_it_depends_on_differs(tmp_path: Path) -> None:
    now = replace(entry(copied_bytes=COPIED.of(1.0)), kernel_library="onednn")
    alike = replace(now, machine_class=OTHER)
    before = replace(alike, kernel_library="fbgemm")
    tolerances = read_tolerances(tmp_path)
    assert comparable.difference(COPIED.name, now, before, tolerances) == "other kernels"
    assert comparable.difference(COPIED.name, now, alike, tolerances) is None


def test_it_has_a_column_and_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.from_entries([entry(copied_bytes=COPIED.of(12_345))])
    heading, _, row = report.summary_table(run, {}).splitlines()
    assert [cell.strip() for cell in heading.strip("|").split("|")] == ["Model", "Copied (kB)"]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["fp32", "12.3"]
    assert "copied in a forward" in explain_columns()
    table_of_docs.main()
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "copied_bytes" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["`copied_bytes`", "2 %", "2 %", "5 %", "copied in a forward"]
