"""What is left with a torch that has no eager quantization. Ten seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

AFTER = Path(__file__).parents[1] / "after_ao"
LINE = (
    f"torch {'.'.join(torch.__version__.split('.')[:2])} has no eager quantization: use pt2e-int8"
)
EAGER = {
    *("dynamic-fp16", "dynamic-int8", "static-int8", "static-int8-jit"),
    *("static-int8-onednn", "fx-int8", "mixed-int8", "qat-int8"),
}


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
    assert {name for name, reason in missing.items() if reason == LINE} == EAGER
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
