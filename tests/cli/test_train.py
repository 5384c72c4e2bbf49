import pytest

from qmodels import data
from qmodels.data import Dataset
from qmodels.network import resnet
from qmodels.training import checkpoints
from tests import small
from tests.cli.conftest import Qmodels
from tests.eager import needs_eager_quantization

pytestmark = pytest.mark.usefixtures("empty_cache", "quick")


@pytest.fixture
def quick(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on 200 images."""
    few = digits.with_train(digits.train.first(200))
    monkeypatch.setattr(data, "load", lambda name: few)


@needs_eager_quantization
def test_a_checkpoint_is_written_that_build_and_fine_tuning_use(
    qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resnet, "BLOCKS_PER_STAGE", small.BLOCKS)
    network = "--dataset digits --architecture preact_resnet34 --width 4"
    trained = qmodels(f"train {network} --seed 3 --epochs 3 --json").json
    assert trained["seed"] == 3
    assert trained["recipe"]["name"] == "digits-3e"
    checkpoint = checkpoints.find("preact_resnet34", 4, "digits")
    assert checkpoint is not None
    assert (checkpoint.seed, checkpoint.top1) == (3, trained["top1"])
    assert checkpoint.sha256 == trained["sha256"]

    built = qmodels(f"build {network} --variants static-int8 --json").json
    assert built[0]["size_bytes"] > 0

    # The options name no architecture: it is the parent's.
    tuned = qmodels(f"train --from {checkpoint.path.stem} --epochs 1 --json").json
    assert tuned["architecture"] == "preact_resnet34"
    assert tuned["parent"] == trained["sha256"]


def test_qat_and_its_control_start_from_a_checkpoint(qmodels: Qmodels) -> None:
    shipped = checkpoints.find("resnet34", 8, "digits")
    assert shipped is not None
    aware = qmodels("train --qat --dataset digits --epochs 1 --json").json
    control = qmodels(f"train --from {shipped.path.stem} --epochs 1 --json").json
    assert aware["parent"] == control["parent"] == shipped.sha256
    assert (aware["quantization_aware"], control["quantization_aware"]) == (True, False)
    assert aware["recipe"] == control["recipe"]
    assert min(aware["top1"], control["top1"]) > shipped.top1 - 5


def test_only_the_main_process_of_torchrun_prints(
    qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resnet, "BLOCKS_PER_STAGE", small.BLOCKS)
    train = "train --dataset digits --width 4 --epochs 1"
    assert "top-1" in qmodels(train).out
    monkeypatch.setenv("RANK", "1")
    assert qmodels(train).out == ""  # the cache has it: nothing is trained again
