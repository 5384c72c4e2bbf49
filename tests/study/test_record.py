from pathlib import Path

import pytest
from rich.console import Console

from docs.study import record
from qmodels import variants
from qmodels.measure import latency
from qmodels.network import Network
from qmodels.system.errors import UserError

QUIET = Console(quiet=True)


def test_a_recording_goes_on_where_it_was_killed(
    small_network: Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "BUDGET_SECONDS", 0.02)
    monkeypatch.setattr(record, "BATCH_SIZES", (1,))
    monkeypatch.setattr(record, "PLANTED", (0, 20))
    artifacts = {"fp32": variants.build(variants.all_variants()["fp32"], small_network)}
    path = tmp_path / "rows.csv"
    first = record.record(artifacts, path, 1, busy=True, console=QUIET)
    assert [row.planted for row in first] == [0]
    plan = path.with_suffix(".plan.json").read_text()
    with path.open("a") as stream:
        stream.write("1,0.2,fp32,1,20,0.1")  # killed while it wrote
    second = record.record(artifacts, path, 2, busy=False, console=QUIET)
    assert [(row.pair, row.planted) for row in second] == [(0, 0), (1, 20)]
    assert record.read(path)[-1].planted == 20
    assert path.with_suffix(".plan.json").read_text() == plan


@pytest.mark.parametrize("content", ["", "# a README\n", "pair,minute\n0,1\n"])
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(content)
    with pytest.raises(UserError, match="is no recording"):
        record.record({}, path, 1, busy=False, console=QUIET)
    assert path.read_text() == content
