"""What the process that makes artifacts says where it can't, and what becomes of it."""

from pathlib import Path

import pytest
from torch import Tensor

from qmodels import variants
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import Unavailable, UserError
from qmodels.resnet import Resnet34
from qmodels.runtimes.dispatch import Runnable
from qmodels.runtimes.eager import WEIGHTS
from qmodels.variants import making, registry


@pytest.fixture(autouse=True)
def own_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    variants.all_variants()
    monkeypatch.setattr(registry, "_VARIANTS", dict(registry._VARIANTS))


def asked(name: str, checkpoint: Checkpoint, folder: Path) -> dict[str, str]:
    request = {"variant": name, "checkpoint": str(checkpoint.path), "dataset": "digits"}
    return making.answer({**request, "calibration": None, "folder": str(folder)})


def test_it_tells_what_is_unavailable_from_what_failed(
    digits_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    errors: list[Exception] = []

    @variants.variant("mine", engine="eager", summary="", format=WEIGHTS)
    def mine(model: Resnet34, calibration: Tensor | None) -> Runnable:
        if errors:
            raise errors[0]
        return model

    assert asked("mine", digits_checkpoint, tmp_path) == {}
    errors[:] = [Unavailable("mine: choose resnet34")]
    assert asked("mine", digits_checkpoint, tmp_path) == {"unavailable": "mine: choose resnet34"}
    errors[:] = [UserError("the runtime refused: update it")]
    line = "mine can't be built: the runtime refused: update it"
    assert asked("mine", digits_checkpoint, tmp_path) == {"failed": line}
    errors[:] = [IndexError()]
    line = f"mine can't be built (IndexError: IndexError): mend {__name__}, or leave"
    assert asked("mine", digits_checkpoint, tmp_path)["failed"].startswith(line)


def test_a_process_that_dies_is_one_line(digits: Dataset, digits_checkpoint: Checkpoint) -> None:
    @variants.variant("mine", engine="inductor", summary="known here alone", format=WEIGHTS)
    def mine(model: Resnet34, calibration: Tensor | None) -> Runnable:
        return model

    with pytest.raises(UserError) as caught:
        variants.build(variants.all_variants()["mine"], digits_checkpoint, digits)
    said = str(caught.value)
    assert said.startswith("mine can't be built (qmodels.variants.making failed in ")
    assert said.endswith(f": KeyError: 'mine'): mend {__name__}, or leave the variant out")
    assert "\n" not in said


def test_a_compiler_that_does_not_work_is_one_line(
    digits: Dataset, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path / "qmodels"))  # what was built before
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "torch"))  # and compiled
    with pytest.raises(UserError) as caught:
        variants.build(variants.all_variants()["fp32-compiled"], digits_checkpoint, digits)
    said = str(caught.value)
    assert said.startswith("fp32-compiled can't be built: torch could not compile the model (")
    assert said.endswith("): install a C++ compiler that works, as with apt-get install g++")
    assert "\n" not in said
