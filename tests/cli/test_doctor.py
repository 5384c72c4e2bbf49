import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from qmodels.system import worker
from tests.cli.conftest import Qmodels


def test_json_has_the_machine_and_the_checkpoints(qmodels: Qmodels) -> None:
    facts = qmodels("doctor --json").json
    assert facts["machine_class"].count("-") == 2
    assert any("digits resnet34 width 8: top-1" in line for line in facts["checkpoints"])
    assert any("width 8, quantization-aware: top-1" in line for line in facts["checkpoints"])
    assert facts["engines"]["eager"].startswith("works")


def test_text_has_one_fact_a_line(qmodels: Qmodels) -> None:
    lines = qmodels("doctor").out.splitlines()
    assert lines[0].startswith("machine class     ")
    assert len([line for line in lines if "eager: works" in line]) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_without_a_gpu_its_engines_do_not_work(qmodels: Qmodels) -> None:
    assert (
        qmodels("doctor --json").json["engines"]["cuda"].startswith("does not run here (no NVIDIA")
    )


@pytest.mark.skipif(not find_spec("onnxruntime"), reason="needs ONNX Runtime")
def test_it_leaves_nothing_outside_the_cache(tmp_path: Path) -> None:
    """Neither telemetry's files nor the folder of torch's compiler. Runtimes are imported anew."""
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "QMODELS_CACHE_DIR")}
    for folder in places.values():
        folder.mkdir()
    # ONNX Runtime sends nothing from a CI service.
    unset = ("CI", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "ORT_DISABLE_TELEMETRY")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    command = "from qmodels import cli; cli.main(['doctor']); import torch._dynamo, onnxruntime"
    ended = worker.run(
        *(sys.executable, "-c", command),
        timeout=200,
        environment={**kept, **{name: str(folder) for name, folder in places.items()}},
    )
    assert ended.status == 0, ended.reason
    assert list((places["QMODELS_CACHE_DIR"] / "probes").iterdir())
    assert [*places["HOME"].rglob("*"), *places["TMPDIR"].rglob("*")] == []
