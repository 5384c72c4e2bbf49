from pathlib import Path

import pytest

from qmodels.study import evaluate, picture, record
from tests.cli.conftest import Qmodels


def test_the_recording_is_evaluated_and_drawn(
    qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def recorded(artifacts: dict[str, object], path: Path, pairs: int, **options: object) -> str:
        asked.append((list(artifacts), path, pairs, options["busy"]))
        return "rows"

    # Recording takes hours; tests/study records and evaluates for real.
    monkeypatch.setattr(record, "record", recorded)
    monkeypatch.setattr(evaluate, "rates", lambda rows, *other, **console: f"rates of {rows}")
    monkeypatch.setattr(evaluate, "table", lambda rates: f"table of {rates}")
    monkeypatch.setattr(picture, "draw", lambda rates, path: path.write_text(rates))
    file = tmp_path / "quiet.csv"
    result = qmodels(f"study {file} --dataset digits --variants fp32 --pairs 3 --busy")
    assert asked == [(["fp32"], file, 3, True)]
    assert result.out == "table of rates of rows\n"
    assert file.with_suffix(".svg").read_text() == "rates of rows"
