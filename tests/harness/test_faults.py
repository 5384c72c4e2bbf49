"""Faults that benches find: in accuracy, size, memory and latency, and variants that break."""

import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest

from qmodels import cli
from tests.harness.planting import (
    BROKEN_NUMBERS,
    COPYING,
    DYING,
    FATTER,
    GONE,
    NOISY,
    SLOWER,
    UNBUILDABLE,
    UNBUILDABLE_FP32,
    UPDATE,
    VARIANTS,
    Run,
    assert_red,
    kept,
    loading,
    variants_file,
)


def test_noise_in_the_logits_fails_accuracy(run: Run, baseline: Path) -> None:
    result = run("benches/bench_accuracy.py", VARIANTS, planted=NOISY)
    assert_red(result, "bench_accuracy[planted] regressed: top1", "--qmodels-update-baseline")


def test_logits_that_are_not_finite_fail_accuracy_and_kernels(
    run: Run, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "run.json"
    selected = ("benches/bench_accuracy.py", "benches/bench_kernels.py", VARIANTS)
    result = run(*selected, f"--benchmark-json={record}", planted=BROKEN_NUMBERS)
    assert_red(
        result,
        "planted: 3 of 596 images have logits that are not finite",
        "planted: 1 of 100 images have logits that are not finite",
        "2 failed, 2 passed",
    )
    reason = "planted: 3 of 596 images have logits that are not finite"
    for command, status, said in (
        ("report", 1, f"| bench_accuracy[planted] | {reason} |"),
        ("baseline diff", 1, f"bench_accuracy[planted] failed: {reason}"),
        ("baseline accept", 0, f"bench_accuracy[planted] not stored: it failed, {reason}"),
    ):
        with pytest.raises(SystemExit) if status else nullcontext() as ended:
            cli.main([*command.split(), str(record), "--baseline", str(baseline)])
        assert ended is None or ended.value.code == status
        assert said in " ".join(capsys.readouterr().out.split())


def test_fewer_images_say_what_they_could_not_show(run: Run, baseline: Path) -> None:
    result = run("benches/bench_accuracy.py", VARIANTS, "--qmodels-accuracy-images=200")
    assert result.returncode == 0, result.stdout
    assert "200 of 596 images: a loss of less than 3.00 points" in result.stdout
    assert "5 ok, 0 regressed" in result.stdout


def test_a_fatter_artifact_fails_size(run: Run, baseline: Path, tmp_path: Path) -> None:
    result = run("benches/bench_size.py", VARIANTS, planted=FATTER, QMODELS_CACHE_DIR=str(tmp_path))
    assert_red(result, "bench_size[planted] regressed: size_bytes")
    assert "bench_size[fp32] regressed" not in result.stdout


def test_an_extra_copy_in_the_forward_fails_memory(run: Run, baseline: Path) -> None:
    result = run("benches/bench_memory.py", VARIANTS, planted=COPYING)
    assert_red(
        result,
        "bench_memory[planted] regressed: allocated_bytes",
        "; operator_calls from",
    )


def test_a_forward_that_works_more_fails_latency(run: Run, baseline: Path) -> None:
    times = "5 if len(images) > 1 else 60"
    slower = f"return lambda images: [forward(images) for _ in range({times})][-1]"
    planted = variants_file(loading(slower))
    result = run("benches/bench_latency.py", VARIANTS, planted=planted)
    assert_red(result, "bench_latency[planted-b8] regressed: latency_ratio")
    assert "entries compared with this host" in result.stdout
    assert re.search(
        r"^odd: planted takes \S+ ms for 1 image, \S+ ms for 8 ", result.stdout, re.MULTILINE
    )
    assert "odd: fp32" not in result.stdout


def test_a_slowdown_of_fp32_and_int8_alike_is_seen(run: Run, baseline: Path) -> None:
    both = variants_file(SLOWER, reference="Planted")
    result = run("benches/bench_latency.py", VARIANTS, "-k", "b8", planted=both)
    assert_red(result, "bench_latency[fp32-b8] regressed: probe_ratio")
    assert "latency_ratio" not in result.stdout, "they are what they were to one another"


def test_a_latency_in_doubt_is_undecided(run: Run, baseline: Path) -> None:
    record = json.loads(baseline.read_text())
    for entry in record["entries"].values():
        for name in {"latency_ratio", "probe_ratio"} & set(entry):
            entry[name]["samples"] = [-9.0, 9.0]
    some = ("benches/bench_latency.py", VARIANTS, "-k", "planted-b8")
    with kept(baseline):
        baseline.write_text(json.dumps(record))
        strict, lenient = run(*some, CI="true"), run(*some)
    assert_red(strict, "bench_latency[planted-b8] undecided: latency_ratio", "1 undecided")
    assert lenient.returncode == 0
    assert "bench_latency[planted-b8] undecided: latency_ratio" in lenient.stdout


def test_a_broken_runtime_costs_its_latencies_alone(run: Run, baseline: Path) -> None:
    result = run("benches/bench_latency.py", VARIANTS, "-k", "b1", planted=DYING)
    assert_red(result, "1 failed, 1 passed", "planted")


def test_a_variant_that_cannot_be_built_costs_itself(
    run: Run, baseline: Path, tmp_path: Path
) -> None:
    result = run(
        *("benches/bench_size.py", "benches/bench_accuracy.py", VARIANTS),
        planted=UNBUILDABLE,
        QMODELS_CACHE_DIR=str(tmp_path),
    )
    assert_red(result, "2 passed", "2 errors")
    assert "was not measured" not in result.stdout, "the reason is said already"
    assert result.stdout.count("planted can't be built (ValueError: no such axis)") >= 2
    assert result.stdout.count("tried to build") == 1, "once"


def test_an_fp32_that_cannot_be_built_costs_the_benches_that_need_it(
    run: Run, baseline: Path, tmp_path: Path
) -> None:
    selected = ("benches", VARIANTS, "-k", "size or accuracy or latency and b1")
    cache = {"QMODELS_CACHE_DIR": str(tmp_path)}
    result = run(*selected, planted=UNBUILDABLE_FP32, **cache)
    assert_red(result, "2 failed, 1 passed", "3 errors")
    assert result.stdout.count("fp32 can't be built (ValueError: no such axis)") >= 5
    assert "KeyError" not in result.stdout


def test_a_variant_that_is_gone_fails_until_its_entries_are_dropped(
    run: Run, baseline: Path
) -> None:
    some = ("benches/bench_size.py", "-k", "[fp32]")
    line = "there is no variant planted any more"
    assert_red(run(*some, planted=GONE, CI="true"), "FAILED bench_size[planted] missing", line)
    asked = run(*some, "--qmodels-variants=fp32", planted=GONE, CI="true")
    assert asked.returncode == 0, asked.stdout
    with kept(baseline):
        dropped = run(*some, UPDATE, planted=GONE)
        assert dropped.returncode == 0, dropped.stdout
        assert "dropped, as there are no such variants: bench_accuracy[planted" in dropped.stdout
        after = run(*some, planted=GONE, CI="true")
    assert after.returncode == 0, after.stdout


@pytest.mark.parametrize("fixable", [True, False])
def test_only_what_the_machine_cannot_run_is_excused(
    run: Run, baseline: Path, fixable: bool
) -> None:
    unfit = variants_file(obstacle=f"Obstacle('it needs a harpsichord', fixable={fixable})")
    result = run("benches/bench_size.py", VARIANTS, planted=unfit, CI="true")
    if fixable:
        assert_red(
            result, "FAILED bench_size[planted] missing: size_bytes", "it needs a harpsichord"
        )
    else:
        assert result.returncode == 0, result.stdout
        assert "excused: planted can't run here: it needs a harpsichord" in result.stdout
        with kept(baseline):
            baseline.unlink()
            run("benches/bench_size.py", VARIANTS, UPDATE, planted=unfit)
            skipped = json.loads(baseline.read_text())["skipped"]
        assert skipped == {"it needs a harpsichord": ["planted"]}


def test_a_bench_that_vanished_fails(run: Run, baseline: Path, repository: Path) -> None:
    bench = repository / "benches" / "bench_size.py"
    content = bench.read_text()
    bench.write_text(content.replace("def bench_size", "def bench_bytes"))
    try:
        result = run("benches/bench_size.py", VARIANTS, CI="true")
    finally:
        bench.write_text(content)
    assert_red(result, "bench_size[fp32] missing: size_bytes")


def test_a_backend_whose_probe_fails_costs_its_variant_alone(run: Run, baseline: Path) -> None:
    failing = variants_file(
        "\n    def saturates(self):\n        raise ValueError('no such axis')\n"
    )
    result = run("benches/bench_size.py", VARIANTS, planted=failing)
    assert "\ncompared: 6 of 6 stored entries\n" in result.stdout
    assert "INTERNALERROR" not in result.stdout
    assert re.search(r"planted.*no such axis", result.stdout)
    assert re.search(r"= 1 passed, .*1 error in ", result.stdout)
