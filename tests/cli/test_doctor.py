import pytest
import torch

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
