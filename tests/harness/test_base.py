"""Runs against a base revision: latency in turn, other metrics against its own."""

import shutil
from pathlib import Path

from tests.harness.planting import FATTER, UPDATE, VARIANTS, Run, assert_red, edit, kept, slowing


def test_beside_a_base_what_it_does_not_know_is_new(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(repository, base)
    dynamic = base / "qmodels" / "variants" / "dynamic.py"
    edit(dynamic, "def dynamic_int8(", "def dynamic_int7(")
    result = run("benches", VARIANTS, "--qmodels-base", str(base), "-k", "size", CI="true")
    assert result.returncode == 0, result.stdout
    assert "1 ok, 0 regressed, 0 improved, 0 undecided, 1 new" in result.stdout
    assert "dynamic-int8] new" in result.stdout


def test_beside_a_base_a_change_passes_where_the_stored_run_accepts_it(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(repository, base)
    beside = ("benches/bench_size.py", "--qmodels-variants=fp32", "--qmodels-base", str(base))
    caches = {"QMODELS_CACHE_DIR": str(tmp_path / "cache")}
    assert_red(
        run(*beside, plugin=FATTER, **caches), "bench_size[fp32] regressed: size_bytes", "base"
    )
    with kept(baseline):
        stored = run(*beside[:2], UPDATE, plugin=FATTER, **caches)
        assert stored.returncode == 0, stored.stdout
        accepted = run(*beside, plugin=FATTER, CI="true", **caches)
    assert accepted.returncode == 0, accepted.stdout
    assert "1 ok, 0 regressed" in accepted.stdout


def test_latency_is_held_against_a_base_in_turn(
    run: Run, baseline: Path, repository: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(repository, base)
    with slowing(repository, "dynamic-int8"):
        given = ("--qmodels-base", str(base), "-k", "b8")  # a folder, which pytest looks into too
        result = run("benches", VARIANTS, *given)
    assert_red(result, "bench_latency[dynamic-int8-b8] regressed: latency_change")
    assert "bench_latency[fp32-b8] regressed" not in result.stdout, "it was not slowed"
    assert "x base" in result.stdout
