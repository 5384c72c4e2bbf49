"""Stored runs: which one a run is compared with, how it is accepted, and damaged ones."""

import json
import os
import shutil
from pathlib import Path

import pytest

from qmodels import cli, gate
from qmodels.system import machine
from tests.harness.conftest import Repository
from tests.harness.planting import SIZES, UPDATE, assert_red, edit


def test_the_nearest_class_gates_what_both_compute_alike(stored: Repository) -> None:
    other = move_to_another_class(stored)
    margin = "--qmodels-max-drop=-9"
    result = stored.run(margin, "-k", "accuracy or size or latency and b1", CI="true")
    assert result.status == 0, result.printed
    assert "\nnone: every variant loses more than -9 points of top-1\n" in result.printed
    assert f"baseline: baselines/{other.parent.name}/{other.name}, the nearest" in result.printed
    assert "latency: not compared; --qmodels-base REVISION compares it" in result.printed
    assert "\ncompared: 8 of 12 stored entries\n" in result.printed
    reason = "latency_ratio, memory_bytes, probe_ratio of 6 entries: another machine class"
    assert f"not compared: {reason}" in result.printed
    before = result.printed.partition("\n\nbench_")[0]
    header = before.partition("qmodels: digits-resnet34-w8,")[2].splitlines()
    assert len(header) == 6
    assert max(map(len, header)) <= 100
    assert "0 undecided, 0 new, 0 missing" in result.printed
    edit(other, SIZES, SIZES + "0.")
    fatter = stored.run("-k", "size", CI="true")
    assert_red(fatter, "bench_size[fp32] regressed: size_bytes", "another class")


def move_to_another_class(stored: Repository) -> Path:
    """Have the stored run be one of the oldest class of this architecture."""
    here = machine.machine_class()
    folder = stored.baseline.parents[1] / f"{here.rpartition('-')[0]}-baseline"
    shutil.move(stored.baseline.parent, folder)
    other = folder / stored.baseline.name
    other.write_text(other.read_text().replace(here, folder.name))
    return other


def test_what_got_better_is_said_and_not_hidden(stored: Repository) -> None:
    edit(stored.baseline, SIZES, SIZES + "9")
    result = stored.run("-k", "size", CI="true")
    assert result.status == 0, result.printed
    assert "2 improved" in result.printed
    assert "To store that, accept it with --qmodels-update-baseline" in result.printed


def test_a_deleted_entry_fails_where_it_is_required_and_warns_elsewhere(
    stored: Repository,
) -> None:
    record = json.loads(stored.baseline.read_text())
    del record["entries"]["bench_size[fp32]"]
    stored.baseline.write_text(json.dumps(record))
    line = "bench_size[fp32] missing: size_bytes"
    assert_red(stored.run("-k", "size", CI="true"), line)
    lenient = stored.run("-k", "size")
    assert lenient.status == 0
    assert line in lenient.printed


def test_a_failed_run_does_not_move_the_baseline(stored: Repository) -> None:
    before = stored.baseline.read_bytes()
    stored.pytester.makepyfile("def test_broken():\n    assert False\n")
    result = stored.run("-k", "size or broken", UPDATE, ".")
    assert result.status == 1
    assert "baseline not updated: this run failed" in result.printed
    assert stored.baseline.read_bytes() == before


def test_a_partial_update_says_what_it_kept(stored: Repository) -> None:
    result = stored.run("-k", "size", UPDATE)
    assert result.status == 0
    assert "2 entries; partial run: 10 other entries kept" in result.printed
    here = json.loads(stored.baseline.read_text())["machine_class"]
    assert here == machine.machine_class()


def test_a_run_to_store_takes_a_fixed_number_of_processes(stored: Repository) -> None:
    entries = gate.read_run(stored.baseline).entries.values()
    ratios = [metric for entry in entries for metric in entry.metrics.values() if metric.samples]
    assert {len(ratio.samples) for ratio in ratios} == {2}, "as planting.SHORT has it"
    assert not any(ratio.confirmation for ratio in ratios)


def test_a_partial_run_hides_no_other_class(stored: Repository) -> None:
    other = move_to_another_class(stored)
    result = stored.run("-k", "size", UPDATE)
    assert result.status == 0, result.printed
    assert json.loads(stored.baseline.read_text())["partial"]
    nearest = f"baseline: baselines/{other.parent.name}/{other.name}, the nearest"
    assert nearest in stored.run("--collect-only").printed


# Says whether a run would be stored as a whole one.
TELLING = """
from qmodels.harness.plugin import harness_of

def pytest_collection_finish(session):
    run = next(iter(harness_of(session.config).runs.values()))
    print("whole:", run.collected.is_whole(run.settings))
"""
SHARD = """
def pytest_collection_modifyitems(items):
    items[:] = items[::2]
"""
IGNORING = """
def pytest_ignore_collect(collection_path):
    return True if collection_path.name == "bench_accuracy.py" else None
"""


@pytest.mark.parametrize(
    ("options", "variants", "whole"),
    [
        ([], "fp32,planted", True),
        ([], None, True),
        (["-o", "python_files=other.py"], "fp32,planted", True),  # the packaged ones don't mind
        ([], "fp32", False),
        (["--ignore-glob=/*/bench_latency.py"], "fp32,planted", False),
        (["-p", "shard"], "fp32,planted", False),
        (["-p", "ignoring"], "fp32,planted", False),
        (["-k", "not size"], "fp32,planted", False),
    ],
    ids=str,
)
def test_whatever_leaves_something_out_a_run_is_no_whole_one(
    stored: Repository, options: list[str], variants: str | None, whole: bool
) -> None:
    move_to_another_class(stored)
    for name, plugin in (("shard", SHARD), ("ignoring", IGNORING), ("telling", TELLING)):
        (stored.folder / f"{name}.py").write_text(plugin)
    result = stored.run("--collect-only", "-p", "telling", *options, variants=variants)
    assert f"whole: {whole}\n" in result.printed


def test_baselines_name_no_host(stored: Repository) -> None:
    text = stored.baseline.read_text()
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"torch": "', '"torch": "1.', "it is stale"),
        ('"threads": 1', '"threads": 2', "threads 2, and this run has 1"),
        ('"engine": "eager"', '"engine": "other"', "engine other, and this run has eager"),
    ],
)
def test_a_baseline_of_other_conditions_fails_where_one_is_required(
    stored: Repository, old: str, new: str, said: str
) -> None:
    edit(stored.baseline, old, new)
    assert_red(stored.run("-k", "size", CI="true"), said)
    lenient = stored.run("-k", "size")
    assert lenient.status == 0
    assert said in lenient.printed


@pytest.mark.parametrize("damage", ["nonsense", "another machine class", "truncated"])
def test_a_damaged_baseline_ends_the_session_in_one_line(stored: Repository, damage: str) -> None:
    if damage == "nonsense":
        edit(stored.baseline, SIZES, '"size_bytes": {"value": "much", "was": ')
    elif damage == "truncated":
        stored.baseline.write_text(stored.baseline.read_text()[:1000])
    else:
        edit(stored.baseline, f'"{machine.machine_class()}"', '"plan9-mips-none"')
    result = stored.run("-k", "size")
    assert result.status == 4
    said = "was made on plan9-mips-none" if damage == "another machine class" else "is damaged"
    assert said in result.printed
    assert "Traceback" not in result.printed


def test_a_changed_run_is_accepted_by_the_command(
    stored: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    record, whole = stored.folder / "run.json", stored.baseline.read_text()
    edit(stored.baseline, SIZES, SIZES + "0.")
    assert stored.run("-k", "size", f"--benchmark-json={record}").status == 1
    capsys.readouterr()
    given = ["--baseline", str(stored.baseline)]
    with pytest.raises(SystemExit, match="^1$"):
        cli.main(["baseline", "diff", str(record), *given])
    assert "0 ok, 2 regressed" in capsys.readouterr().out
    cli.main(["baseline", "accept", str(record), *given])
    assert "2 accepted, 10 kept" in capsys.readouterr().out
    cli.main(["baseline", "accept", str(record), *given])
    assert "nothing to accept" in capsys.readouterr().out
    metrics = [json.loads(text)["entries"] for text in (stored.baseline.read_text(), whole)]
    for entries in metrics:
        for entry in entries.values():
            del entry["about"]
    assert metrics[0] == metrics[1]
    cli.main(["baseline", "show", str(stored.baseline)])
    assert "bench_size[fp32]" in capsys.readouterr().out
