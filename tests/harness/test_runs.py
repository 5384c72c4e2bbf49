"""`pytest benches` as users run it: green runs, reports, and what pytest's own options do."""

import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from qmodels import cli, gate
from qmodels.system import machine
from tests.harness.planting import (
    ATTEMPTS,
    NOISE,
    SIZES,
    VARIANTS,
    Run,
    assert_red,
    edited,
    variants_file,
)


def test_an_unchanged_run_is_green_and_prints_the_table(run: Run, baseline: Path) -> None:
    before = baseline.read_bytes()
    result = run(
        "benches",
        VARIANTS,
        "--qmodels-require-baseline",
        "-k",
        "not latency",
        "--benchmark-compare",
    )
    assert result.returncode == 0, result.stdout
    # The stored run is another host's, where a process may hold more memory.
    verdicts = r"0 regressed, \d improved, 0 undecided, 0 new, 0 missing"
    assert re.search(verdicts, result.stdout), result.stdout
    assert re.search(r"^planted +\d+\.\d\d .* (ok|improved)$", result.stdout, re.MULTILINE)
    assert "(NOW)" in result.stdout, "pytest-benchmark's own comparison"
    assert "qmodels: digits-resnet34-w8 =" in result.stdout
    assert baseline.read_bytes() == before, "a run must not move the baseline"


def test_wide_tables_and_times_are_printed_where_asked_for(run: Run, baseline: Path) -> None:
    only = ("benches/bench_size.py", VARIANTS)
    short = run(*only).stdout
    assert "benchmark 'size'" not in short
    assert "Allocated" not in short
    assert "| planted |" not in short
    end = short.partition("qmodels: digits-resnet34-w8 =")[2].splitlines()
    assert max(map(len, end)) <= 100
    assert "benchmark 'size': 2 tests" in run(*only, "--qmodels-times").stdout
    assert "| planted |    1.38 (=) |" in run(*only, "-v").stdout


def test_what_was_skipped_is_said_with_the_reason(run: Run, baseline: Path, tmp_path: Path) -> None:
    if machine.gpu_class():
        pytest.skip("they run here")
    record = tmp_path / "run.json"
    chosen = "--qmodels-variants=fp32,cuda-fp32,cuda-fp16"
    result = run("benches/bench_size.py", chosen, f"--benchmark-json={record}")
    [(reason, skipped)] = gate.read_run(record).skipped.items()
    assert reason.startswith("no NVIDIA GPU: ")
    assert skipped == ("cuda-fp32", "cuda-fp16")
    assert "\nno recommendation: no variant but fp32 has accuracy and latency" in result.stdout
    assert "\nnot measured: cuda-fp32, cuda-fp16: no NVIDIA GPU: " in result.stdout
    alone = run("benches/bench_size.py", "--qmodels-variants=cuda-fp32")
    assert "\nnot measured: cuda-fp32: no NVIDIA GPU: " in alone.stdout


def test_a_run_of_failures_alone_has_an_overview(run: Run, baseline: Path) -> None:
    broken = "def pytest_runtest_call(item):\n    assert False, 'broken'\n"
    result = run("benches/bench_size.py", VARIANTS, plugin=broken)
    assert re.search(r"^planted .* failed$", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.parametrize("value", ["0", "False"])
def test_ci_that_is_switched_off_is_none(run: Run, baseline: Path, value: str) -> None:
    result = run("benches", VARIANTS, "-k", "nothing_is_called_this", CI=value)
    assert result.returncode == 5, "pytest's own for no tests"


@pytest.mark.parametrize("options", [["-pno:cacheprovider", "-pno:capture"], ["--sw"]])
def test_no_option_of_pytest_ends_in_an_internal_error(
    run: Run, baseline: Path, options: list[str]
) -> None:
    result = run("benches/bench_size.py", VARIANTS, *options, CI="true")
    assert result.returncode == 0, result.stdout
    assert "INTERNALERROR" not in result.stdout


@pytest.mark.parametrize(
    ("attempts", "said"),
    [
        (["broken", "right"], "gate: 5 ok, 0 regressed"),
        (["noisy", "broken"], "gate: 2 ok, 0 regressed"),
    ],
)
def test_of_several_attempts_the_last_counts(
    run: Run,
    baseline: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    attempts: list[str],
    said: str,
) -> None:
    pytest.importorskip("pytest_rerunfailures")
    passes, record = attempts[-1] == "right", tmp_path / "run.json"
    given = ("benches/bench_accuracy.py", VARIANTS, "--reruns=1", f"--benchmark-json={record}")
    methods = ATTEMPTS.format(attempts=attempts, noise=NOISE)
    result = run(*given, planted=variants_file(methods))
    assert (result.returncode == 0) == passes, result.stdout
    assert said in result.stdout
    assert "1 rerun" in result.stdout
    with nullcontext() if passes else pytest.raises(SystemExit, match="^1$"):
        cli.main(["report", str(record), "--baseline", str(baseline)])
    assert ("no such axis" in capsys.readouterr().out) != passes


def test_a_checkout_reached_through_a_symbolic_link_is_the_same(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(repository)
    result = run(str(tmp_path / "link/benches/bench_size.py"), VARIANTS, CI="true")
    assert result.returncode == 0, result.stdout
    assert "2 ok, 0 regressed" in result.stdout


def test_another_root_directory_is_refused_in_one_line(
    run: Run, baseline: Path, tmp_path: Path
) -> None:
    # pytest finds no configuration there, so the options of pyproject.toml do not apply.
    result = run("benches/bench_size.py", f"--rootdir={tmp_path}")
    assert result.returncode != 0
    assert f"there is no {tmp_path / 'benches'}: leave out --rootdir" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize("option", ["--co", "--fixtures", "--setup-plan"])
def test_what_only_shows_something_measures_nothing_and_passes(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    given = ["-p", "no:cacheprovider", "benches", "--qmodels-dataset=digits", option]
    assert pytest.main(given) == pytest.ExitCode.OK
    assert "INTERNALERROR" not in capsys.readouterr().out


def test_an_empty_run_fails_where_a_baseline_is_required(run: Run, baseline: Path) -> None:
    result = run("benches", VARIANTS, "-k", "nothing_is_called_this", CI="true")
    assert result.returncode != 0
    assert "no bench was measured" in result.stdout


def test_several_processes_gate_accuracy_and_leave_latency_out(
    run: Run, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xdist")
    record = tmp_path / "run.json"
    selected = ("benches", VARIANTS, "-n2", "-rs", "-k", "accuracy or size or latency and b1")
    result = run(*selected, f"--benchmark-json={record}", CI="true")
    assert "7 ok, 0 regressed" in result.stdout, "top1, top5_error, size_bytes of two, one sqnr_db"
    assert "run it without -n" in result.stdout
    line = "FAILED bench_latency[fp32-b1] missing: probe_ratio"
    assert_red(result, line, "has it, and it was not measured")
    assert "bench_accuracy[fp32] missing" not in result.stdout
    assert "bench_memory" not in result.stdout, "it was not asked for"
    with pytest.raises(SystemExit, match="^3$"):
        cli.main(["report", str(record), "--baseline", str(baseline)])
    assert "gate: 7 ok, 0 regressed, 0 improved, 0 undecided, 0 new, 2 missing" in (
        capsys.readouterr().out
    )


def test_a_regression_found_by_another_process_fails(run: Run, baseline: Path) -> None:
    pytest.importorskip("xdist")
    with edited(baseline, SIZES, SIZES + "0."):
        result = run("benches/bench_size.py", VARIANTS, "-n", "2")
    assert_red(result, "bench_size[fp32] regressed: size_bytes", "2 regressed")


def test_the_order_of_benches_does_not_matter(run: Run, baseline: Path) -> None:
    reverse = "def pytest_collection_modifyitems(items):\n    items.reverse()\n"
    selected = ("benches", VARIANTS, "-k", "accuracy or size")
    tables = [
        [line for line in run(*selected, plugin=plugin).stdout.splitlines() if line[-4:] == "  ok"]
        for plugin in ("", reverse)
    ]
    assert len(tables[0]) == 2
    assert sorted(tables[0]) == sorted(tables[1])


def test_stopping_at_the_first_failure_is_said_in_one_line(run: Run, baseline: Path) -> None:
    some = ("benches/bench_size.py", "benches/bench_accuracy.py", VARIANTS)
    with edited(baseline, SIZES, SIZES + "0."):
        stopped = run(*some, "-x", "--cache-clear", CI="true")
    assert_red(stopped, "stopped early: 3 benches were not measured")
    assert "missing:" not in stopped.stdout
    mended = run(*some, "--lf", CI="true")
    assert mended.returncode == 0, mended.stdout
    assert "1 ok, 0 regressed" in mended.stdout
    assert "--lf: 2 benches of the baseline were left out" in mended.stdout


def test_what_the_command_line_leaves_out_is_not_looked_at(run: Run, baseline: Path) -> None:
    result = run(
        *("benches", VARIANTS, "--ignore=benches/bench_latency.py", "--ignore-glob=*/bench_mem*"),
        *("--deselect=benches/bench_kernels.py", "--deselect", "benches/bench_accuracy.py"),
        *("-k", "not cuda and not planted"),
        CI="true",
    )
    assert result.returncode == 0, result.stdout
    assert "1 ok, 0 regressed" in result.stdout
    assert "1 passed" in result.stdout


def test_benchmark_only_measures_all_the_same(run: Run, baseline: Path) -> None:
    result = run("benches/bench_size.py", VARIANTS, "--benchmark-only", CI="true")
    assert result.returncode == 0, result.stdout
    assert "2 ok, 0 regressed" in result.stdout
    skipped = run("benches/bench_size.py", VARIANTS, "--benchmark-skip", CI="true")
    assert_red(skipped, "no bench was measured")


def test_without_timing_latency_is_missed_where_it_is_required(run: Run, baseline: Path) -> None:
    result = run("benches", VARIANTS, "--benchmark-disable", "-k", "latency and b1", CI="true")
    line = "FAILED bench_latency[fp32-b1] missing: probe_ratio"
    assert_red(result, line, "has it, and it was not measured")


def test_without_timing_accuracy_is_still_gated(run: Run, baseline: Path) -> None:
    result = run("benches", VARIANTS, "--benchmark-disable", "-k", "accuracy or latency")
    assert result.returncode == 0, result.stdout
    assert "2 passed, 4 skipped" in result.stdout
    assert "0 regressed" in result.stdout


def test_benches_of_a_processor_are_of_what_runs_there(run: Run, baseline: Path) -> None:
    chosen = "--qmodels-variants=fp32,cuda-fp16"
    result = run("benches", chosen, "--collect-only", "-q")
    assert result.returncode == 0, result.stdout
    assert "bench_cuda[cuda-fp16-b256]" in result.stdout
    assert "bench_latency[fp32-b1]" in result.stdout
    assert "bench_cuda[fp32" not in result.stdout
    assert "bench_latency[cuda" not in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_without_a_gpu_its_benches_are_skipped_with_the_reason(run: Run, baseline: Path) -> None:
    result = run("benches/bench_cuda.py", "benches/bench_size.py", "-rs", VARIANTS + ",cuda-fp16")
    assert result.returncode == 0, result.stdout
    assert "2 passed, 4 skipped" in result.stdout
    assert "cuda-fp16: no NVIDIA GPU: run it on a machine with one" in result.stdout


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full")
def test_a_record_that_cannot_be_written_fails_in_one_line(run: Run, baseline: Path) -> None:
    result = run("benches/bench_size.py", VARIANTS, "--benchmark-json=/dev/full")
    assert result.returncode == 1
    assert "FAILED /dev/full can't be written (No space left on device): free the" in result.stdout
    assert "Traceback" not in result.stdout
    assert "run record: " not in result.stdout


def test_a_run_record_becomes_a_report(
    run: Run, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "run.json"
    result = run("benches/bench_size.py", VARIANTS, f"--benchmark-json={record}")
    assert result.returncode == 0
    assert f"run record: {record}" in result.stdout
    extra_info = json.loads(record.read_text())["benchmarks"][0]["extra_info"]
    named = {
        "variant",
        "engine",
        "architecture",
        "width",
        "dataset",
        "machine_class",
        "threads",
        "batch_size",
        "provenance",
        "metrics",
    }
    assert named <= set(extra_info)
    cli.main(["report", str(record), "--baseline", str(baseline)])
    printed = capsys.readouterr().out
    assert printed.startswith("## digits-resnet34-w8\n")
    assert "| fp32  " in printed
    assert "(=)" in printed
