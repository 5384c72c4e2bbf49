"""Runs against a base revision: latency in turn, other metrics against its own."""

import shutil
from pathlib import Path
from statistics import median

import pytest

from qmodels import cli, gate
from tests.harness.planting import (
    FAILING,
    FATTER,
    GONE,
    PLAIN,
    SLOWER,
    UPDATE,
    VARIANTS,
    Run,
    assert_red,
    edit,
    kept,
    of_another_class,
    plant,
    variants_file,
)


@pytest.fixture
def base(repository: Path, tmp_path: Path) -> Path:
    """Another checkout of the copy, with the benches that these tests run."""
    folder = tmp_path / "base"
    plant(repository, PLAIN)
    shutil.copytree(repository, folder)
    for name in ("accuracy", "kernels", "memory"):
        (folder / "benches" / f"bench_{name}.py").unlink()
    return folder


def test_a_change_against_a_base_is_reported_as_one(
    run: Run, baseline: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How it passes once it is accepted is shown by the workflow's steps."""
    record = tmp_path / "run.json"
    result = run(
        *("benches/bench_size.py", VARIANTS, "--qmodels-base", str(base)),
        f"--benchmark-json={record}",
        planted=FATTER,
        QMODELS_CACHE_DIR=str(tmp_path / "cache"),
        CI="true",
    )
    line = "bench_size[planted] regressed: size_bytes"
    assert_red(result, line, "base")
    with pytest.raises(SystemExit, match="^1$"):
        cli.main(["report", str(record)])
    report = capsys.readouterr().out
    assert f"- {line}" in report
    assert "Compared with the base" in report
    assert "compared with the base that ran beside it" in report


def test_a_stored_loss_is_accepted_unless_the_stored_run_of_the_base_cannot_be_read(
    run: Run, baseline: Path, base: Path
) -> None:
    only = ("benches/bench_size.py", VARIANTS)
    given = (*only, "--qmodels-base", str(base))
    with kept(baseline):
        stored = run(*only, UPDATE, planted=FATTER)
        assert stored.returncode == 0, stored.stdout
        accepted = run(*given, planted=FATTER)
        of_a_later_format(base)
        unreadable = run(*given, planted=FATTER)
    assert accepted.returncode == 0, accepted.stdout
    assert_red(unreadable, "bench_size[planted] regressed: size_bytes", "base")


def of_a_later_format(checkout: Path) -> None:
    """Have the stored runs of a checkout be of a format that this code does not read."""
    for path in (checkout / "baselines").glob("*/*-w8.json"):
        edit(path, '"format": 3', '"format": 4')


def test_a_variant_that_the_base_has_and_this_code_has_not_fails(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    given = ("benches/bench_size.py", "--qmodels-base", str(base))
    plant(repository, PLAIN)
    with of_another_class(baseline) as other:
        shutil.copytree(repository, base)
        content = other.read_bytes()
        other.unlink()
        nothing_stored = run(*given, planted=GONE, CI="true")
        other.write_bytes(content)
    line = "FAILED planted: the base has this variant, and this code has not"
    assert_red(nothing_stored, line)
    with kept(baseline):
        stored = run("benches/bench_size.py", UPDATE, planted=GONE)
        assert stored.returncode == 0, stored.stdout
        accepted = run(*given, planted=GONE, CI="true")
    assert accepted.returncode == 0, accepted.stdout


def test_what_the_base_does_not_know_or_failed_to_measure_is_new(
    run: Run, baseline: Path, base: Path, tmp_path: Path
) -> None:
    plant(base, variants_file(quantize=FAILING))
    newer = variants_file(names=("planted", "newer"))
    given = ("benches/bench_size.py", VARIANTS + ",newer", "--qmodels-base", str(base))
    result = run(*given, planted=newer, CI="true", QMODELS_CACHE_DIR=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stdout
    assert "1 ok, 0 regressed, 0 improved, 0 undecided, 2 new" in result.stdout
    assert not list((tmp_path / "cache" / "bases").glob("base-*")), "another time it may work"
    assert "The base failed to measure it: planted can't be built (ValueError: no such axis" in (
        result.stdout
    )


def test_latency_is_held_against_a_base_in_turn(run: Run, baseline: Path, base: Path) -> None:
    given = ("--qmodels-base", str(base))  # a folder, which pytest looks into too
    record = base.parent / "run.json"
    chosen = (VARIANTS, "-k", "b8 or accuracy", f"--benchmark-json={record}")
    result = run("benches", *chosen, *given, planted=variants_file(SLOWER))
    assert_red(result, "bench_latency[planted-b8] regressed: latency_change")
    assert "bench_latency[fp32-b8] regressed" not in result.stdout, "it was not slowed"
    assert "x base" in result.stdout
    assert "\nrecommended: planted, the fastest that loses" in result.stdout
    assert "times the speed of fp32 with 8 images" in result.stdout
    assert "\n  but    its latency is no less than that of fp32\n" in result.stdout
    assert "not measured" not in result.stdout, "the benches of GPUs have no variant"
    timed = {e.variant: e for e in gate.read_run(record).entries.values() if e.key.batch_size == 8}
    slowed = timed["planted"]
    assert median(slowed.details.base_seconds) < median(slowed.timing.stats["data"]) / 2
