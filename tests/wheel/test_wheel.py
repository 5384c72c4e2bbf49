"""The wheel, in an environment without a checkout: `tox run -e wheel`. Six minutes."""

import json
import os
import subprocess
import sys
from importlib.metadata import files, requires
from pathlib import Path

import pytest

import qmodels

INSTALLED = Path(qmodels.__file__).parents[1].name == "site-packages"
pytestmark = pytest.mark.skipif(not INSTALLED, reason="of the wheel: tox run -e wheel")
MOST_BYTES = 30e6
DIGITS = ("--qmodels-dataset=digits", "--qmodels-variants=fp32,static-int8,qat-int8")


def run(folder: Path, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the environment in a folder."""
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=folder,
        env={**inherited, "QMODELS_CACHE_DIR": str(folder.parent / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def benches(folder: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the packaged benches in a folder.

    The environment lies in the checkout, whose ``conftest.py`` pytest would load.
    """
    command = ("pytest", "--noconftest", "--pyargs", "qmodels.benches")
    return run(folder, *command, *options, **environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder that the tests of this module share."""
    return tmp_path_factory.mktemp("wheel") / "empty"


def test_it_holds_what_runs_need_and_no_more(folder: Path) -> None:
    installed = {str(path): path for path in files("pytest-qmodels") or ()}
    size = Path(os.environ["TOX_PACKAGE"].partition(os.pathsep)[0]).stat().st_size
    print(f"\n{size / 1e6:.1f} MB, {len(installed)} files")
    assert size <= MOST_BYTES
    for needed in (
        "qmodels/benches/bench_accuracy.py",
        "qmodels/data/cifar100_files/test.webp",
        "qmodels/data/digits_files/digits.png",
        "qmodels/training/checkpoint_files/index.json",
    ):
        assert needed in installed
    weights = sorted(name for name in installed if name.endswith(".safetensors"))
    assert [Path(name).name.split("-s0")[0] for name in weights] == [
        "cifar100-resnet34-w16-compact-cpu",
        "cifar100-resnet34-w16-compact-cpu",
        "digits-resnet34-w8-digits",
        "digits-resnet34-w8-digits",
    ]
    assert not [name for name in installed if name.startswith(("benches", "tests", "docs"))]


def test_it_requires_no_package_that_only_tests_use() -> None:
    required = " ".join(line for line in requires("pytest-qmodels") or () if "extra ==" not in line)
    assert "torch>=" in required
    for unneeded in ("hypothesis", "scikit", "xdist"):
        assert unneeded not in required


def test_a_run_is_stored_compared_and_red_after_a_fault(folder: Path) -> None:
    folder.mkdir()
    stored = benches(folder, *DIGITS, "-k", "not latency", "--qmodels-update-baseline")
    assert stored.returncode == 0, stored.stdout + stored.stderr
    assert "baseline updated" in stored.stdout
    record = folder / "run.json"
    again = benches(folder, *DIGITS, "-k", "not b8", f"--benchmark-json={record}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert " 0 regressed, 0 improved, 0 undecided, 3 new, 0 missing" in again.stdout, "latencies"
    assert "recommended: " in again.stdout
    report = run(folder, "qmodels", "report", str(record))
    assert report.returncode == 0, report.stdout + report.stderr
    assert "| static-int8 " in report.stdout
    (baseline,) = folder.glob("baselines/*/digits-resnet34-w8.json")
    content = json.loads(baseline.read_text())
    content["entries"]["bench_size[static-int8]"]["size_bytes"]["value"] /= 2
    baseline.write_text(json.dumps(content))
    red = benches(folder, *DIGITS, "-k", "size")
    assert red.returncode == 1
    assert "bench_size[static-int8] regressed: size_bytes" in red.stdout


def test_the_page_for_a_network_of_ones_own_runs_word_for_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--noconftest")  # as ``benches`` does
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    from docs import pages

    folder = tmp_path / "empty"
    ran = 0
    for block in pages.blocks(pages.OF_USERS):
        if block.mark == "file":
            path = folder / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n", encoding="utf-8")
        elif block.mark == "run":
            result = pages.run(block.text, folder, tmp_path / "cache")
            print(f"$ {block.text}\n{result.stdout}")
            assert result.returncode == 0, result.stdout + result.stderr
            ran += 1
    assert ran == 6


def test_cifar100_and_its_checkpoint_come_along(tmp_path: Path) -> None:
    result = benches(tmp_path, "-k", "accuracy[fp32]")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "checkpoint: cifar100-resnet34-w16-compact-cpu-s0, top-1 71.57 %" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("fp32 ")]
    assert row.split()[2] == "71.57"


def test_the_command_line_works(tmp_path: Path) -> None:
    for command in ("doctor", "variants", "layers fp32 --dataset digits --images 20"):
        result = run(tmp_path, "qmodels", *command.split())
        assert result.returncode == 0, result.stdout + result.stderr
