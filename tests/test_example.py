"""The example repository, as its owner runs it. Twenty seconds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.eager import needs_eager_quantization

EXAMPLE = Path(__file__).parents[1] / "examples" / "shapes"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "shapes"))


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest there."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        env={**environment, "QMODELS_CACHE_DIR": str(folder.parent / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_own_tests_pass(repository: Path) -> None:
    result = run(repository, "tests")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout


@needs_eager_quantization
def test_its_stored_run_holds_and_a_loss_of_accuracy_is_red(repository: Path) -> None:
    """On any machine class: accuracy may differ from the stored one by its tolerance."""
    benches = ("--pyargs", "qmodels.benches", "-k", "accuracy")
    green = run(repository, *benches)
    assert green.returncode == 0, green.stdout + green.stderr
    assert " 0 regressed" in green.stdout
    assert "baseline: baselines/linux-x86_64-avx2/shapes.json" in green.stdout
    quantized = repository / "quantized.py"
    quantized.write_text(quantized.read_text().replace("shapes.draw(500", "0.3 * shapes.draw(500"))
    red = run(repository, *benches, "--qmodels-variants=fp32,static-int8-jit")
    assert red.returncode == 1
    assert "bench_accuracy[static-int8-jit] regressed: top1 from 94.72 %" in red.stdout
