"""Runs of the packaged benches as users see them: green ones, reports, and pytest's options."""

import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from qmodels import cli, gate
from qmodels.harness.plugin import BENCHES
from qmodels.system import machine
from tests.gate.repositories import git
from tests.harness.conftest import Repository
from tests.harness.planting import (
    ATTEMPTS,
    NOISE,
    SIZES,
    SLOWER,
    assert_red,
    edit,
    variants_file,
)


def test_an_unchanged_run_is_green_and_prints_the_table(stored: Repository) -> None:
    before = stored.baseline.read_bytes()
    given = ("--qmodels-require-baseline", "-k", "not latency", "--benchmark-compare")
    result = stored.run(*given)
    assert result.status == 0, result.printed
    # The stored run is another host's, where a process may hold more memory.
    verdicts = r"0 regressed, \d improved, 0 undecided, 0 new, 0 missing"
    assert re.search(verdicts, result.printed), result.printed
    assert re.search(r"^planted +\d+\.\d\d .* (ok|improved)$", result.printed, re.MULTILINE)
    assert "(NOW)" in result.printed, "pytest-benchmark's own comparison"
    assert "qmodels: digits-resnet34-w8 =" in result.printed
    assert stored.baseline.read_bytes() == before, "a run must not move the baseline"


def test_wide_tables_and_times_are_printed_where_asked_for(stored: Repository) -> None:
    short = stored.run("-k", "size").printed
    for wide in ("benchmark 'size': 2 tests", "Allocated", "| planted |"):
        assert wide not in short
    end = short.partition("qmodels: digits-resnet34-w8 =")[2].splitlines()
    assert max(map(len, end)) <= 100
    long = stored.run("-k", "size", "--qmodels-times", "-v").printed
    assert "benchmark 'size': 2 tests" in long
    assert "| planted |    1.38 (=) |" in long


def test_a_record_names_the_commit_and_becomes_a_report(
    stored: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within a hook of another repository, whose variables git would obey."""
    for folder in (stored.folder, tmp_path):
        git(folder, "init", "-q", "-b", "main")
        git(folder, "commit", "--allow-empty", "-qm", f"In {folder}")
    record = tmp_path / "run.json"
    result = stored.run("-k", "size", f"--benchmark-json={record}", GIT_DIR=f"{tmp_path}/.git")
    assert result.status == 0, result.printed
    assert f"run record: {record}" in result.printed
    written = json.loads(record.read_text())
    head = (stored.folder / ".git" / "refs" / "heads" / "main").read_text().strip()
    assert written["commit_info"]["id"] == head
    (entry, *_) = gate.read_run(record).entries.values()
    assert entry.provenance.commit == head[:12]
    named = {"variant", "engine", "weights", "source", "machine_class", "threads"}
    assert named | {"batch_size", "metrics"} <= set(written["benchmarks"][0]["extra_info"])
    capsys.readouterr()
    cli.main(["report", str(record), "--baseline", str(stored.baseline)])
    report = capsys.readouterr().out
    assert report.startswith("## digits-resnet34-w8\n")
    assert "| fp32  " in report
    assert "(=)" in report


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full")
def test_a_record_that_cannot_be_written_fails_in_one_line(stored: Repository) -> None:
    result = stored.run("-k", "size", "--benchmark-json=/dev/full")
    assert_red(result, "FAILED /dev/full can't be written (No space left on device): free the")
    assert "run record: " not in result.printed


def test_what_was_skipped_is_said_with_the_reason(stored: Repository) -> None:
    if machine.gpu_class():
        pytest.skip("it runs here")
    record = stored.folder / "run.json"
    given = ("-k", "size or cuda", "-rs", f"--benchmark-json={record}")
    result = stored.run(*given, variants="fp32,cuda-fp32,cuda-fp16")
    assert result.status == 0, result.printed
    assert "cuda-fp16: no NVIDIA GPU: run it on a machine with one" in result.printed
    [(reason, skipped)] = gate.read_run(record).skipped.items()
    assert reason.startswith("no NVIDIA GPU: ")
    assert skipped == ("cuda-fp32", "cuda-fp16")
    assert "\nno recommendation: no variant but fp32 has accuracy and latency" in result.printed
    assert "\nnot measured: cuda-fp32, cuda-fp16: no NVIDIA GPU: " in result.printed
    alone = stored.run("-k", "size", variants="cuda-fp32")
    assert "\nnot measured: cuda-fp32: no NVIDIA GPU: " in alone.printed


def test_benches_of_a_processor_are_of_what_runs_there(stored: Repository) -> None:
    result = stored.run("--collect-only", "-q", variants="fp32,cuda-fp16")
    assert result.status == 0, result.printed
    assert "bench_cuda[cuda-fp16-b256]" in result.printed
    assert "bench_latency[fp32-b1]" in result.printed
    assert "bench_cuda[fp32" not in result.printed
    assert "bench_latency[cuda" not in result.printed


def test_a_run_of_failures_alone_has_an_overview(stored: Repository) -> None:
    (stored.folder / "own.py").write_text(
        "def pytest_runtest_call():\n    assert False, 'broken'\n"
    )
    result = stored.run("-k", "size", "-p", "own")
    assert re.search(r"^planted .* failed$", result.printed, re.MULTILINE), result.printed


@pytest.mark.parametrize("options", [["-pno:cacheprovider", "-pno:capture"], ["--sw"]])
def test_no_option_of_pytest_ends_in_an_internal_error(
    stored: Repository, options: list[str]
) -> None:
    result = stored.run("-k", "size", *options, CI="true")
    assert result.status == 0, result.printed
    assert "INTERNALERROR" not in result.printed


@pytest.mark.parametrize(
    ("attempts", "said"),
    [
        (["broken", "right"], "gate: 5 ok, 0 regressed"),
        (["noisy", "broken"], "gate: 2 ok, 0 regressed"),
    ],
)
def test_of_several_attempts_the_last_counts(
    stored: Repository, capsys: pytest.CaptureFixture[str], attempts: list[str], said: str
) -> None:
    pytest.importorskip("pytest_rerunfailures")
    passes, record = attempts[-1] == "right", stored.folder / "run.json"
    stored.plant(variants_file(ATTEMPTS.format(attempts=attempts, noise=NOISE)))
    result = stored.run("-k", "accuracy", "--reruns=1", f"--benchmark-json={record}")
    assert (result.status == 0) == passes, result.printed
    assert said in result.printed
    assert "1 rerun" in result.printed
    capsys.readouterr()
    with nullcontext() if passes else pytest.raises(SystemExit, match="^1$"):
        cli.main(["report", str(record), "--baseline", str(stored.baseline)])
    assert ("no such axis" in capsys.readouterr().out) != passes


@pytest.mark.parametrize("option", ["--co", "--fixtures", "--setup-plan"])
def test_what_only_shows_something_measures_nothing_and_passes(
    stored: Repository, option: str
) -> None:
    result = stored.run(option, CI="true")
    assert result.status == 0, result.printed
    assert "INTERNALERROR" not in result.printed
    assert "no bench was measured" not in result.printed


def test_an_empty_run_fails(stored: Repository) -> None:
    assert stored.run("-k", "nothing_is_called_this").status == pytest.ExitCode.NO_TESTS_COLLECTED
    skipped = stored.run("-k", "size", "--benchmark-skip", CI="true")
    assert_red(skipped, "FAILED no bench was measured")
    assert stored.run("-k", "size", "--benchmark-skip", CI="False").status == 0


def test_several_processes_are_refused_in_one_line(stored: Repository) -> None:
    pytest.importorskip("xdist")
    result = stored.pytest("--pyargs", "qmodels.benches", "--qmodels-dataset=digits", "-n2")
    assert result.status == 1, result.printed
    line = "benches measure one after another, in one process: leave out -n"
    assert result.printed.count(f"\n{line}\n") == 1
    assert "Traceback" not in result.printed


def test_the_order_of_benches_does_not_matter(stored: Repository) -> None:
    rows = []
    for modify in ("pass", "items.reverse()"):
        stored.pytester.makeconftest(f"def pytest_collection_modifyitems(items):\n    {modify}\n")
        printed = stored.run("-k", "accuracy or size").printed
        rows.append(sorted(line for line in printed.splitlines() if line.endswith("  ok")))
    assert len(rows[0]) == 2
    assert rows[0] == rows[1]


def test_stopping_at_the_first_failure_is_said_in_one_line(stored: Repository) -> None:
    whole = stored.baseline.read_text()
    edit(stored.baseline, SIZES, SIZES + "0.")
    some = ("-k", "size or accuracy")
    stopped = stored.run(*some, "-x", "--deselect=bench_accuracy.py", CI="true")
    assert_red(stopped, "stopped early: 1 benches were not measured")
    assert "missing:" not in stopped.printed
    stored.baseline.write_text(whole)
    mended = stored.run(*some, "--lf", CI="true")
    assert mended.status == 0, mended.printed
    assert "1 ok, 0 regressed" in mended.printed


def test_what_the_command_line_leaves_out_is_not_looked_at(stored: Repository) -> None:
    result = stored.run(
        *(f"--ignore-glob={BENCHES}/bench_mem*", "--deselect=bench_kernels.py"),
        *("--deselect", "bench_accuracy.py", "-k", "not cuda and not planted and not latency"),
        CI="true",
    )
    assert result.status == 0, result.printed
    assert "1 ok, 0 regressed" in result.printed
    assert "1 passed" in result.printed


def test_benchmark_only_measures_all_the_same(stored: Repository) -> None:
    result = stored.run("-k", "size", "--benchmark-only", CI="true")
    assert result.status == 0, result.printed
    assert "2 ok, 0 regressed" in result.printed


def test_without_timing_accuracy_is_gated_and_latency_missed(stored: Repository) -> None:
    some = ("--benchmark-disable", "-k", "accuracy or latency and b1")
    lenient, strict = stored.run(*some), stored.run(*some, CI="true")
    assert lenient.status == 0, lenient.printed
    assert "2 passed, 2 skipped" in lenient.printed
    line = "FAILED bench_latency[fp32-b1] missing: probe_ratio"
    assert_red(strict, line, "has it, and it was not measured", "5 ok, 0 regressed")


@pytest.mark.parametrize("options", ["--benchmark-disable", "-k size"], ids=str.strip)
@pytest.mark.parametrize("name", ["--benchmark-save=kept", "--benchmark-autosave"])
def test_a_run_is_saved_where_nothing_was_timed(
    stored: Repository, options: str, name: str
) -> None:
    result = stored.run(*options.split(), "-k", "size", "--benchmark-storage=saved", name)
    assert result.status == 0, result.printed
    (saved,) = (stored.folder / "saved").rglob("0001_*.json")
    assert set(gate.read_run(saved).entries) == {
        gate.Key("digits-resnet34-w8", "bench_size", variant, 1) for variant in ("fp32", "planted")
    }


SAVE = "--benchmark-save=x"


def test_a_run_that_can_not_be_saved_is_one_line(stored: Repository) -> None:
    """As on a disk that fills while it is made."""
    refused = stored.run("-k", "size", "--benchmark-storage=baselines/tolerances.toml", SAVE)
    assert refused.status == pytest.ExitCode.USAGE_ERROR
    assert "tolerances.toml can't be written: choose another folder" in refused.printed
    stored.run("-k", "size", "--benchmark-storage=saved", SAVE)
    (saved,) = (stored.folder / "saved").rglob("0001_x.json")
    shutil.rmtree(saved.parent)
    saved.parent.write_text("a file in the way")
    result = stored.run("-k", "size", "--benchmark-storage=saved", SAVE)
    assert_red(result, "FAILED run x can't be saved", "choose another --benchmark-storage")
    assert "2 ok" in result.printed
    assert "Traceback" not in result.printed


def test_enabled_benchmarks_are_timed_whatever_disables_them(stored: Repository) -> None:
    result = stored.run("--benchmark-disable", "--benchmark-enable", "-k", "latency and fp32-b1")
    assert result.status == 0, result.printed
    assert "1 passed" in result.printed


LIMIT = "--benchmark-compare-fail=median:5%"


@pytest.mark.parametrize(
    "compare",
    ["", "--benchmark-compare", "--benchmark-compare=0007"],
    ids=["no", "bare", "unknown"],
)
def test_a_limit_without_a_run_to_compare_with_is_refused_before_the_run(
    repository: Repository, compare: str
) -> None:
    result = repository.run(LIMIT, *compare.split(), "-k", "latency and b1")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --benchmark-compare-fail has no run to compare with" in result.printed
    assert "Traceback" not in result.printed
    assert "passed" not in result.printed


def test_a_regression_of_pytest_benchmarks_own_does_not_hide_the_verdict(
    stored: Repository,
) -> None:
    stored.plant(SLOWER)
    some = ("-k", "latency and planted-b1", "--benchmark-compare")
    result = stored.run(LIMIT, *some)
    assert_red(result, "Performance has regressed", "gate: ", "bench_latency[planted-b1]")
    assert "tolerance 100 %, 2 processes" in result.printed, "the second was to confirm"
    assert "Traceback" not in result.printed
