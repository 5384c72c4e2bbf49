"""Stored runs: which one a run is compared with, how it is accepted, and damaged ones."""

import json
import os
from pathlib import Path

import pytest

from qmodels import cli
from qmodels.system import machine
from tests.harness.planting import (
    SIZES,
    UPDATE,
    VARIANTS,
    Run,
    assert_red,
    edited,
    of_another_class,
)


def test_the_nearest_class_gates_what_both_compute_alike(run: Run, baseline: Path) -> None:
    with of_another_class(baseline) as other:
        margin = "--qmodels-max-drop=-9"
        result = run("benches", VARIANTS, margin, "-k", "not memory", CI="true")
        with edited(other, '"size_bytes": {"value": ', '"size_bytes": {"value": 0.'):
            fatter = run("benches/bench_size.py", VARIANTS, CI="true")
    assert result.returncode == 0, result.stdout
    assert "\nnone: every variant loses more than -9 points of top-1\n" in result.stdout
    assert f"baseline: baselines/{other.parent.name}/{other.name}, the nearest" in result.stdout
    assert "latency: not compared; --qmodels-base REVISION compares it" in result.stdout
    assert "\ncompared: 8 of 12 stored entries\n" in result.stdout
    reason = "latency_ratio, memory_bytes, probe_ratio of 6 entries: another machine class"
    assert f"not compared: {reason}" in result.stdout
    header = result.stdout.partition("rootdir:")[0].partition("qmodels: ")[2].splitlines()
    assert len(header) == 6
    assert max(map(len, header)) <= 100
    assert "0 undecided, 0 new, 0 missing" in result.stdout
    assert_red(fatter, "bench_size[fp32] regressed: size_bytes", "another class")


def test_what_got_better_is_said_and_not_hidden(run: Run, baseline: Path, repository: Path) -> None:
    with edited(baseline, SIZES, SIZES + "9"):
        result = run("benches/bench_size.py", VARIANTS, CI="true")
    assert result.returncode == 0, result.stdout
    assert "2 improved" in result.stdout
    assert "To store that, accept it with --qmodels-update-baseline" in result.stdout


def test_a_deleted_entry_fails_where_it_is_required_and_warns_elsewhere(
    run: Run, baseline: Path
) -> None:
    whole = baseline.read_text()
    record = json.loads(whole)
    del record["entries"]["bench_size[fp32]"]
    baseline.write_text(json.dumps(record))
    line = "bench_size[fp32] missing: size_bytes"
    try:
        assert_red(run("benches/bench_size.py", VARIANTS, CI="true"), line)
        lenient = run("benches/bench_size.py", VARIANTS)
    finally:
        baseline.write_text(whole)
    assert lenient.returncode == 0
    assert line in lenient.stdout


def test_a_failed_run_does_not_move_the_baseline(
    run: Run, baseline: Path, repository: Path
) -> None:
    before = baseline.read_bytes()
    bench = repository / "benches" / "bench_broken.py"
    bench.write_text("def bench_broken():\n    assert False\n")
    try:
        result = run("benches/bench_broken.py", "benches/bench_size.py", VARIANTS, UPDATE)
    finally:
        bench.unlink()
    assert result.returncode == 1
    assert "baseline not updated: this run failed" in result.stdout
    assert baseline.read_bytes() == before


def test_a_partial_update_says_what_it_kept(run: Run, baseline: Path) -> None:
    before = json.loads(baseline.read_text())["machine_class"]
    result = run("benches/bench_size.py", VARIANTS, UPDATE)
    assert result.returncode == 0
    assert "2 entries; partial run: 10 other entries kept" in result.stdout
    assert json.loads(baseline.read_text())["machine_class"] == before


def test_baselines_name_no_host(baseline: Path) -> None:
    text = baseline.read_text()
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"torch": "', '"torch": "1.', "it is stale"),
        ('"threads": 1', '"threads": 2', "threads 2, and this run has 1"),
        ('"width": 8', '"width": 16', "width 16, and this run has 8"),
        ('"dataset": "digits"', '"dataset": "cifar100"', "dataset cifar100"),
    ],
)
def test_a_baseline_of_other_conditions_fails_where_one_is_required(
    run: Run, baseline: Path, old: str, new: str, said: str
) -> None:
    with edited(baseline, old, new):
        assert_red(run("benches/bench_size.py", VARIANTS, CI="true"), said)
        lenient = run("benches/bench_size.py", VARIANTS)
    assert lenient.returncode == 0
    assert said in lenient.stdout


def test_nonsense_in_the_baseline_ends_the_session_in_one_line(run: Run, baseline: Path) -> None:
    with edited(baseline, '"size_bytes": {"value": ', '"size_bytes": {"value": "much", "was": '):
        result = run("benches/bench_size.py", VARIANTS)
    assert result.returncode == 4
    assert "is damaged" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize("damage", ["another machine class", "truncated"])
def test_a_baseline_that_does_not_fit_ends_the_session_in_one_line(
    run: Run, baseline: Path, damage: str
) -> None:
    whole = baseline.read_text()
    if damage == "truncated":
        baseline.write_text(whole[:1000])
    else:
        baseline.write_text(whole.replace(f'"{machine.machine_class()}"', '"plan9-mips-none"'))
    try:
        result = run("benches/bench_size.py", VARIANTS)
    finally:
        baseline.write_text(whole)
    assert result.returncode == 4
    said = "is damaged" if damage == "truncated" else "was made on plan9-mips-none"
    assert said in result.stdout
    assert "Traceback" not in result.stdout


def test_a_changed_run_is_accepted_by_the_command(
    run: Run, baseline: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "run.json"
    whole = baseline.read_text()
    with edited(baseline, SIZES, SIZES + "0."):
        assert run("benches/bench_size.py", VARIANTS, f"--benchmark-json={record}").returncode == 1
        given = ["--baseline", str(baseline)]
        with pytest.raises(SystemExit, match="^1$"):
            cli.main(["baseline", "diff", str(record), *given])
        assert "0 ok, 2 regressed" in capsys.readouterr().out
        cli.main(["baseline", "accept", str(record), *given])
        assert "2 accepted, 10 kept" in capsys.readouterr().out
        cli.main(["baseline", "accept", str(record), *given])
        assert "nothing to accept" in capsys.readouterr().out
        metrics = [json.loads(text)["entries"] for text in (baseline.read_text(), whole)]
        for entries in metrics:
            for entry in entries.values():
                del entry["about"]
        assert metrics[0] == metrics[1]
        cli.main(["baseline", "show", str(baseline)])
        assert "bench_size[fp32]" in capsys.readouterr().out
