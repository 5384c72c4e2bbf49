from pathlib import Path

import pytest

from qmodels import gate
from qmodels.cli import runs
from qmodels.system import machine
from tests.cli.conftest import Qmodels, WriteRun


@pytest.fixture
def stored(write_run: WriteRun, tmp_path: Path) -> Path:
    """A baseline of one megabyte."""
    path = tmp_path / "baseline.json"
    run = gate.read_run(write_run("before.json", size_bytes=1e6))
    gate.accept(path.parent, run, file=path)
    return path


@pytest.mark.parametrize(
    ("metrics", "status"),
    [
        ({"size_bytes": 1e6}, 0),
        ({"size_bytes": 1e6, "peak_bytes": 1.0}, 0),  # new
        ({"size_bytes": 2e6}, 1),
        ({"latency_ms": 5.0}, 3),  # no gated metric, and no size any more
    ],
)
@pytest.mark.parametrize("command", ["baseline diff", "report"])
def test_the_exit_status_is_the_verdict(
    command: str,
    metrics: dict[str, float],
    status: int,
    stored: Path,
    write_run: WriteRun,
    qmodels: Qmodels,
) -> None:
    run = write_run("run.json", **metrics)
    assert qmodels(f"{command} {run} --baseline {stored}").status == status


def test_a_change_is_accepted_and_shown(
    stored: Path, write_run: WriteRun, qmodels: Qmodels
) -> None:
    run = write_run("run.json", size_bytes=2e6)
    assert "size_bytes" in qmodels(f"baseline diff {run} --baseline {stored}").out
    accepted = qmodels(f"baseline accept {run} --baseline {stored}")
    assert accepted.out == f"accepted bench_size[fp32]\n{stored}: 1 accepted, 0 kept\n"
    assert qmodels(f"baseline diff {run} --baseline {stored}").out.startswith("1 ok")
    shown = qmodels(f"baseline show {stored}").out
    assert "bench_size[fp32]" in shown
    assert "size_bytes" in shown


def test_what_is_within_tolerance_is_accepted_on_demand(
    stored: Path, write_run: WriteRun, qmodels: Qmodels
) -> None:
    run = write_run("run.json", size_bytes=1e6 + 1)
    accept = f"baseline accept {run} --baseline {stored}"
    assert qmodels(accept).out == "nothing to accept: every metric is within its tolerance\n"
    assert "1 accepted" in qmodels(f"{accept} --all").out


@pytest.mark.parametrize("command", ["show", "diff run.json"])
def test_only_accept_has_all(command: str, qmodels: Qmodels) -> None:
    result = qmodels(f"baseline {command} --all")
    assert result.status == 2
    assert "unrecognized arguments: --all" in result.err


def test_the_shipped_baseline_is_shown(qmodels: Qmodels) -> None:
    shown = Path("baselines/linux-x86_64-avx512_bf16/digits-resnet34-w8.json")
    assert f"{shown}" in qmodels(f"baseline show {shown}").out


@pytest.mark.parametrize(
    ("file", "configuration", "name"),
    [
        ("README.md", "", "baselines"),
        ("pyproject.toml", "[tool.pytest.ini_options]\nqmodels_baselines = 'a/b'", "a/b"),
        ("pytest.ini", "[pytest]\nqmodels_baselines = stored", "stored"),
        ("setup.cfg", "[tool:pytest]\nqmodels_baselines = stored", "stored"),
        ("tox.ini", "no section", "baselines"),
    ],
)
def test_baselines_are_those_of_the_worktree_one_is_in(
    file: str,
    configuration: str,
    name: str,
    write_run: WriteRun,
    qmodels: Qmodels,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    baselines = tmp_path / "worktree" / name
    baselines.mkdir(parents=True)
    (tmp_path / "worktree" / file).write_text(configuration)
    run = write_run("run.json", size_bytes=1e6)
    monkeypatch.chdir(tmp_path / "worktree")
    assert "1 accepted" in qmodels(f"baseline accept {run}").out
    assert (baselines / machine.machine_class() / "digits-resnet34-w8.json").is_file()


def test_the_first_baseline_of_a_repository_goes_to_its_own_folder(
    write_run: WriteRun, qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And not to the stored runs of the checkout that the command comes from."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "below").mkdir()
    run = write_run("run.json", size_bytes=1e6)
    monkeypatch.chdir(tmp_path / "below")
    assert "1 accepted" in qmodels(f"baseline accept {run}").out
    stored = tmp_path / "baselines" / machine.machine_class() / "digits-resnet34-w8.json"
    assert stored.is_file()


def test_a_baseline_outside_of_a_repository_goes_to_the_working_directory(
    write_run: WriteRun, qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = write_run("run.json", size_bytes=1e6)
    monkeypatch.chdir(tmp_path)
    assert "1 accepted" in qmodels(f"baseline accept {run} --all").out
    stored = tmp_path / "baselines" / machine.machine_class() / "digits-resnet34-w8.json"
    assert stored.is_file()


def test_the_nearest_class_is_shown_where_none_is_stored_for_this_one(
    qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "machine_class", lambda: "linux-x86_64-avx512_vnni")
    shown = qmodels("baseline show --dataset digits").out.splitlines()[0]
    assert shown.endswith("linux-x86_64-avx512_bf16/digits-resnet34-w8.json")
    none = qmodels("baseline show --dataset digits --width 4")
    assert none.status == 2
    assert "digits-resnet34-w4.json does not exist" in none.err


def test_the_stored_run_that_fits_is_found(
    write_run: WriteRun, qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs, "baselines", lambda **_: tmp_path)
    run = write_run("run.json", size_bytes=1e6)
    stored = tmp_path / machine.machine_class() / "digits-resnet34-w8.json"
    assert qmodels(f"baseline diff {run}").status == 3
    accepted = qmodels(f"baseline accept {run}")
    assert accepted.out == f"accepted bench_size[fp32]\n{stored}: 1 accepted, 0 kept\n"
    assert qmodels(f"baseline diff {run}").status == 0
    assert "bench_size[fp32]" in qmodels("baseline show --dataset digits").out
    report = qmodels(f"report {run}")
    assert f"compared with {stored.parent.name}/{stored.name}." in report.out
