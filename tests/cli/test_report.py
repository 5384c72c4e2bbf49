from pathlib import Path

from qmodels.system import machine
from tests.cli.conftest import Qmodels, WriteRun


def test_a_run_without_a_baseline_is_no_pass(write_run: WriteRun, qmodels: Qmodels) -> None:
    result = qmodels(f"report {write_run('run.json', size_bytes=1e6)}")
    assert result.status == 3
    heading, _, machine_line, *_ = result.out.splitlines()
    assert heading == "## resnet34, width 8, digits"
    assert machine_line == f"{machine.machine_class()}, torch 2.15.0, no baseline stored."
    assert "gate: " in result.out


def test_a_file_of_something_else_is_one_line(tmp_path: Path, qmodels: Qmodels) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"benchmarks": [{"fullname": "other", "extra_info": {}}]}')
    result = qmodels(f"report {path}")
    assert result.status == 2
    assert "damaged, or holds no metrics of qmodels" in result.err


def test_an_empty_run_is_one_line(tmp_path: Path, qmodels: Qmodels) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"benchmarks": []}')
    result = qmodels(f"report {path}")
    assert result.status == 3
    assert result.err == f"qmodels: run {path} has no benchmark: make one with `pytest benches`\n"


def test_the_study_stands_beside_a_run(write_run: WriteRun, qmodels: Qmodels) -> None:
    result = qmodels(f"report {write_run('run.json', size_bytes=85e6)} --study")
    assert result.status == 0
    assert result.out.startswith("## The study and this run")
    assert "another checkpoint, not known on this machine" in result.out


def test_a_stored_run_is_not_compared_with_itself(qmodels: Qmodels) -> None:
    stored = "baselines/linux-x86_64-avx512_bf16/cifar100-resnet34-w64.json"
    result = qmodels(f"report {Path(__file__).parents[2] / stored}")
    assert result.status == 0
    assert "linux-x86_64-avx512_bf16, torch 2.15.0, a stored run." in result.out
    assert "(=)" not in result.out
    assert "gate:" not in result.out
