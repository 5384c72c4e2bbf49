"""Files with a byte that is no UTF-8, in whatever reads them. Three seconds."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Qmodels
from tests.report.page.records import record

CLASS, NETWORK = "linux-x86_64-avx512_bf16", "digits-resnet34-w8"
STORED = Path("baselines", CLASS, f"{NETWORK}.json")
COMMANDS = [
    *("baseline diff run.json", "report run.json", "report {}", "report {} --study"),
    *("baseline show {}", "choose {}", "baseline accept run.json --all"),
]


@pytest.fixture
def worktree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with stored runs and a run."""
    (tmp_path / STORED.parent).mkdir(parents=True)
    for path in STORED.parent.glob(f"{NETWORK}.*"):
        shutil.copy(path, tmp_path / path)
    (tmp_path / "baselines" / "tolerances.toml").write_text("[top1]\ntolerance = 0.2\n")
    (tmp_path / "run.json").write_text(json.dumps(record(machine_class=CLASS)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "readers"),
    [
        ("run.json", {0, 1, 6}),
        (f"{STORED}", {0, 1, 2, 3, 4, 5, 6}),
        (f"{STORED.with_suffix('.ranks.json')}", {0, 1, 2, 3, 4, 5, 6}),
        (f"{STORED.with_suffix('.times.json')}", {0, 1, 2, 3, 4, 5, 6}),
        ("baselines/tolerances.toml", {0, 1, 4, 6}),
    ],
)
def test_it_is_one_line_that_names_the_file(
    file: str, readers: set[int], worktree: Path, qmodels: Qmodels
) -> None:
    path = worktree / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" + content[len(content) // 2 :])
    for index, command in enumerate(COMMANDS):
        result = qmodels(command.format(STORED))
        if index in readers:
            assert result.status == 2, command
            assert Path(file).name in result.err
            assert "restore it from git" in result.err
            assert len(result.err.splitlines()) == 1
        else:
            assert result.status != 2, command
