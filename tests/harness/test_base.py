"""Runs against a base revision: latency in turn, other metrics against its own."""

import re
import shutil
from pathlib import Path

import pytest

from qmodels import cli
from tests.harness.planting import (
    ALONE,
    FATTER,
    UPDATE,
    VARIANTS,
    Run,
    assert_red,
    edit,
    kept,
    of_another_class,
    slowing,
)


@pytest.fixture
def base(repository: Path, tmp_path: Path) -> Path:
    """Another checkout of the copy, with the benches that these tests run."""
    folder = tmp_path / "base"
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
        *("benches/bench_size.py", "--qmodels-variants=fp32", "--qmodels-base", str(base)),
        f"--benchmark-json={record}",
        plugin=FATTER,
        QMODELS_CACHE_DIR=str(tmp_path / "cache"),
        CI="true",
    )
    line = "bench_size[fp32] regressed: size_bytes"
    assert_red(result, line, "base")
    with pytest.raises(SystemExit, match="^1$"):
        cli.main(["report", str(record)])
    report = capsys.readouterr().out
    assert f"- {line}" in report
    assert "Compared with the base" in report
    assert "change against the base that ran beside it" in report


def test_a_stored_loss_is_accepted_unless_the_stored_run_of_the_base_cannot_be_read(
    run: Run, baseline: Path, base: Path
) -> None:
    only = ("benches/bench_size.py", "--qmodels-variants=fp32")
    given = (*only, "--qmodels-base", str(base))
    with kept(baseline):
        stored = run(*only, UPDATE, plugin=FATTER)
        assert stored.returncode == 0, stored.stdout
        accepted = run(*given, plugin=FATTER)
        of_a_later_format(base)
        unreadable = run(*given, plugin=FATTER)
    assert accepted.returncode == 0, accepted.stdout
    assert_red(unreadable, "bench_size[fp32] regressed: size_bytes", "base")


def of_a_later_format(checkout: Path) -> None:
    """Have the stored runs of a checkout be of a format that this code does not read."""
    for path in (checkout / "baselines").glob("*/*-w8.json"):
        edit(path, '"format": 3', '"format": 4')


def test_a_variant_that_the_base_has_and_this_code_has_not_fails(
    run: Run, baseline: Path, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = tmp_path / "base"
    given = ("benches/bench_size.py", "--qmodels-base", str(base))
    planted = {"plugin": ALONE, "CI": "true"}
    tolerances = repository / "baselines" / "tolerances.toml"
    whole = tolerances.read_text()
    of_variants = re.compile(r"^\[\w+\.variants\.[^[]*", re.MULTILINE)
    request.addfinalizer(lambda: tolerances.write_text(whole))
    tolerances.write_text(of_variants.sub("", whole))  # which names variants that are gone
    with of_another_class(baseline) as other:
        shutil.copytree(repository, base)
        content = other.read_bytes()
        other.unlink()
        nothing_stored = run(*given, **planted)
        other.write_bytes(content)
    line = "FAILED dynamic-int8: the base has this variant, and this code has not"
    assert_red(nothing_stored, line)
    with kept(baseline):
        stored = run("benches/bench_size.py", UPDATE, plugin=ALONE)
        assert stored.returncode == 0, stored.stdout
        accepted = run(*given, **planted)
        of_a_later_format(base)
        unreadable = run(*given, **planted)
    assert accepted.returncode == 0, accepted.stdout
    assert unreadable.returncode == 0, unreadable.stdout


def test_what_the_base_does_not_know_or_failed_to_measure_is_new(
    run: Run, baseline: Path, base: Path, tmp_path: Path
) -> None:
    dynamic = base / "qmodels" / "variants" / "dynamic.py"
    failing = "def dynamic_fp16(*_):\n    raise ValueError('axis')\n\n\ndef d("
    edit(dynamic, "def dynamic_fp16(", failing)
    edit(dynamic, "def dynamic_int8(", "def dynamic_int7(")
    some = "--qmodels-variants=fp32,dynamic-fp16,dynamic-int8"
    given = ("benches/bench_size.py", some, "--qmodels-base", str(base))
    result = run(*given, CI="true", QMODELS_CACHE_DIR=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stdout
    assert "1 ok, 0 regressed, 0 improved, 0 undecided, 2 new" in result.stdout
    assert not list((tmp_path / "cache" / "bases").glob("base-*")), "another time it may work"
    assert "The base failed to measure it: dynamic-fp16 can't be built (ValueError: axis" in (
        result.stdout
    )


def test_latency_is_held_against_a_base_in_turn(
    run: Run, baseline: Path, repository: Path, base: Path
) -> None:
    with slowing(repository, "dynamic-int8"):
        given = ("--qmodels-base", str(base), "-k", "b8")  # a folder, which pytest looks into too
        result = run("benches", VARIANTS, *given)
    assert_red(result, "bench_latency[dynamic-int8-b8] regressed: latency_change")
    assert "bench_latency[fp32-b8] regressed" not in result.stdout, "it was not slowed"
    assert "x base" in result.stdout
