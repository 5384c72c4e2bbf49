"""Runs against a base: latency in turn, other metrics against its own."""

import shutil
import sys
from pathlib import Path
from statistics import median

import pytest

from qmodels import cli, gate
from qmodels.system import files
from tests.gate.repositories import git
from tests.harness.conftest import Repository
from tests.harness.planting import (
    FAILING,
    FATTER,
    GONE,
    PLAIN,
    SLOWER,
    UPDATE,
    assert_red,
    edit,
    variants_file,
)
from tests.outside import install

ROOT = Path(__file__).parents[2]
# Modules that the base keeps of the package's variants: those of fp32 alone.
KEPT = ("__init__", "artifact", "build_worker", "floating", "registry")


@pytest.fixture
def committed(stored: Repository, cache: Path) -> Path:
    """Another checkout of qmodels with the same variant and stored run.

    All tests share the commit, so that it is measured once.
    """
    folder = cache / "base"
    with files.lock(folder):
        if not folder.exists():
            unfinished = stored.folder / "base"
            make_checkout(unfinished)
            shutil.copytree(stored.folder / "baselines", unfinished / "baselines")
            git(unfinished, "init", "-q", "-b", "main")
            git(unfinished, "add", "--all")
            git(unfinished, "commit", "-qm", "The base")
            unfinished.rename(folder)
    return folder


def make_checkout(folder: Path) -> None:
    package = [path for path in (ROOT / "qmodels").iterdir() if path.name != "variants"]
    kept = [ROOT / "qmodels" / "variants" / f"{name}.py" for name in KEPT]
    benches = [ROOT / "benches" / f"bench_{name}.py" for name in ("latency", "size")]
    benches.append(ROOT / "benches" / "__init__.py")
    for path in (ROOT / "conftest.py", ROOT / "pyproject.toml", *package, *kept, *benches):
        linked = folder / path.relative_to(ROOT)
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.symlink_to("../benches" if path.name == "benches" else path)
    (folder / ".gitignore").write_text("__pycache__\n")
    install(folder, "planted", PLAIN)


@pytest.fixture
def base(committed: Path, tmp_path: Path) -> Path:
    """A copy of that checkout outside git, for a test to change."""
    folder = tmp_path / "base"
    shutil.copytree(committed, folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    return folder


def test_a_change_against_a_base_is_reported_as_one(
    stored: Repository, committed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How it passes once it is accepted is shown by the workflow's steps."""
    record = stored.folder / "run.json"
    stored.plant(FATTER)
    given = ("-k", "size", f"--qmodels-base={committed}", f"--benchmark-json={record}")
    line = "bench_size[planted] regressed: size_bytes"
    assert_red(stored.run(*given, CI="true"), line, "base")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="^1$"):
        cli.main(["report", str(record)])
    report = capsys.readouterr().out
    assert f"- {line}" in report
    assert "Compared with the base" in report
    assert "compared with the base that ran beside it" in report


def test_a_stored_loss_is_accepted_unless_the_stored_run_of_the_base_cannot_be_read(
    stored: Repository, committed: Path, base: Path
) -> None:
    stored.plant(FATTER)
    updated = stored.run("-k", "size", UPDATE)
    assert updated.status == 0, updated.printed
    accepted = stored.run("-k", "size", f"--qmodels-base={committed}")
    assert accepted.status == 0, accepted.printed
    for path in (base / "baselines").glob("*/*-w8.json"):
        edit(path, '"format": 4', '"format": 5')
    unreadable = stored.run("-k", "size", f"--qmodels-base={base}")
    assert_red(unreadable, "bench_size[planted] regressed: size_bytes", "base")


def test_a_variant_that_the_base_has_and_this_code_has_not_fails(
    stored: Repository, committed: Path
) -> None:
    given = ("-k", "size[fp32]", f"--qmodels-base={committed}")
    shutil.rmtree(stored.baseline.parent)
    stored.plant(GONE)
    line = "FAILED planted: the base has this variant, and this code has not"
    assert_red(stored.run(*given, variants=None, CI="true"), line)
    # Stored runs of the base have it, and those of this code have not.
    assert stored.run("-k", "size[fp32]", UPDATE, variants=None).status == 0
    accepted = stored.run(*given, variants=None, CI="true")
    assert accepted.status == 0, accepted.printed


def test_what_the_base_does_not_know_or_failed_to_measure_is_new(
    stored: Repository, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(stored.folder / "cache"))
    (base / "planted.py").write_text(variants_file(quantize=FAILING))
    stored.plant(variants_file(names=("planted", "newer")))
    given = ("-k", "size", f"--qmodels-base={base}")
    result = stored.run(*given, variants="fp32,planted,newer", CI="true")
    assert result.status == 0, result.printed
    assert "1 ok, 0 regressed, 0 improved, 0 undecided, 2 new" in result.printed
    assert not list((stored.folder / "cache/bases").glob("base-*")), "another time it may work"
    line = "The base failed to measure it: planted can't be built (ValueError: no such axis"
    assert line in result.printed


def test_what_the_base_could_not_run_is_new_with_the_reason(stored: Repository, base: Path) -> None:
    (base / "planted.py").write_text(variants_file(obstacle="Obstacle('no such chip', False)"))
    result = stored.run("-k", "size[planted]", f"--qmodels-base={base}", variants="planted")
    line = "1 new, such as bench_size[planted] new: size_bytes. The base has no bench_size[planted]"
    assert f"{line} (skipped: no such chip)" in result.printed


def test_a_base_that_pytest_takes_for_a_folder_of_tests_is_one_line(
    stored: Repository, base: Path
) -> None:
    """Its root directory, and so the stored runs, would be others."""
    for option, value in (("--qmodels-base", str(base)), ("--qmodels-base-python", sys.executable)):
        result = stored.run(option, value)
        assert result.status == pytest.ExitCode.USAGE_ERROR
        assert f"for a folder of tests too: write {option}={value}" in result.printed


def test_latency_is_compared_with_a_base_in_turn(stored: Repository, committed: Path) -> None:
    record = stored.folder / "run.json"
    stored.plant(SLOWER)
    chosen = ("-k", "latency and b8 or accuracy", f"--benchmark-json={record}")
    result = stored.run(*chosen, f"--qmodels-base={committed}")
    assert_red(result, "bench_latency[planted-b8] regressed: latency_change")
    assert "bench_latency[fp32-b8] regressed" not in result.printed, "it was not slowed"
    assert "x base" in result.printed
    assert "\nrecommended: planted, the fastest that loses" in result.printed
    assert "times the speed of fp32 with 8 images" in result.printed
    assert "\n  but    its latency is no less than that of fp32\n" in result.printed
    assert "not measured" not in result.printed, "the benches of GPUs have no variant"
    timed = {e.variant: e for e in gate.read_run(record).entries.values() if e.key.batch_size == 8}
    slowed = timed["planted"]
    assert median(slowed.base_seconds) < median(slowed.stats.data) / 1.5
    changes = {name: timed[name].metrics["latency_change"] for name in ("planted", "fp32")}
    assert len(changes["planted"].confirmation) == 1, "what looks slower is measured again"
    assert changes["fp32"].confirmation == ()
