"""What is left with a torch that has no eager quantization. Ten seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import eager
from tests.eager import needs_eager_quantization

AFTER = Path(__file__).parents[1] / "after_ao"
VERSION = ".".join(torch.__version__.split(".")[:2])
LINE = f"torch {VERSION} has no eager quantization: use pt2e-int8"


def after(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of qmodels with such a torch."""
    paths = os.pathsep.join((str(AFTER), str(Path.cwd())))
    return subprocess.run(
        [sys.executable, "-m", "qmodels", *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_variants_are_skipped_with_the_reason_and_the_others_are_not() -> None:
    finished = after("variants", "--json")
    assert (finished.returncode, finished.stderr) == (0, "")
    missing = {each["name"]: each["missing"] for each in json.loads(finished.stdout)}
    assert {name for name, reason in missing.items() if reason == LINE} == eager.VARIANTS
    assert {"fp32", "weight-int4"} <= {name for name, reason in missing.items() if not reason}


@pytest.mark.parametrize("name", ["fp32", "weight-int4"])
def test_other_variants_are_built(name: str, tmp_path: Path) -> None:
    finished = after("build", "--dataset", "digits", "--variants", name, "--json")
    assert finished.returncode == 0, finished.stderr
    (built,) = json.loads(finished.stdout)
    assert Path(built["folder"]).is_dir()


def test_a_variant_of_it_is_one_line() -> None:
    finished = after("build", "--dataset", "digits", "--variants", "static-int8")
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1] == f"qmodels: static-int8: {LINE}"


@needs_eager_quantization
def test_torch_warns_in_one_line_for_the_whole_process(tmp_path: Path) -> None:
    script = "from qmodels import cli; cli.main(['build', '--dataset=digits', '--variants={}'])"
    finished = subprocess.run(
        [sys.executable, "-W", "always", "-c", script.format("static-int8,qat-int8")],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "QMODELS_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    warned = [line for line in finished.stderr.splitlines() if "deprecated" in line]
    assert len(warned) == 1
    assert warned[0].endswith(f"TorchScript: deprecated in torch {VERSION}, to be removed")
