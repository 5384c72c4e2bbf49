"""Precisions of training."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from qmodels.data import Dataset
from qmodels.network import resnet
from qmodels.quantize import fake_quantize
from qmodels.system import machine
from qmodels.training import arithmetic, loop
from qmodels.training.arithmetic import Precision
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.recipes import FINE_TUNING
from tests.training.conftest import QUICK

CPU = torch.device("cpu")


def test_convolutions_alone_multiply_bfloat16() -> None:
    convolution, linear = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 4)
    network = nn.Sequential(convolution, nn.Flatten(), linear)
    images = resnet.random_images(2)[:, :, :8, :8]
    with arithmetic.context("bfloat16-convolutions", CPU):
        seen, logits = convolution(images), network(images)
    assert seen.dtype == logits.dtype == torch.float32
    assert convolution.bias is not None
    rounded = functional.conv2d(
        images.bfloat16(), convolution.weight.bfloat16(), convolution.bias.bfloat16()
    )
    assert torch.equal(seen, rounded.float())
    assert torch.equal(logits, linear(seen.flatten(1)))
    assert not torch.equal(seen, convolution(images)), "outside of it, float32"
    logits.sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(("gain", "expected"), [(2.0, "bfloat16"), (1.02, "float32")])
def test_the_faster_precision_is_chosen(
    gain: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"float32": gain, "bfloat16": 1.0}
    monkeypatch.setattr(arithmetic, "step_seconds", lambda model, images, name: seconds[name])
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: True)
    assert arithmetic.choose(nn.Identity(), torch.zeros(1), "bfloat16") == expected
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: False)
    assert arithmetic.choose(nn.Identity(), torch.zeros(1), "bfloat16") == "float32"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), "float32"), ((7, 0), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")],
)
def test_gpus_that_multiply_bfloat16_do(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch calls it supported on older ones too, which emulate it."""
    properties = SimpleNamespace(major=capability[0], minor=capability[1])
    here = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "get_device_properties": lambda device: properties,
        "_check_bf16_tensor_supported": lambda device: True,
    }
    for name, answer in here.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(torch.version, "hip", None)
    assert torch.cuda.is_bf16_supported()
    images = SimpleNamespace(device=torch.device("cuda"))
    assert arithmetic.choose(nn.Identity(), images, "bfloat16") == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", arithmetic.PRECISIONS)
def test_a_probe_leaves_the_model_as_it_was(precision: Precision) -> None:
    model: nn.Module = resnet.build("resnet34", 4, 10).train()
    if precision == "bfloat16-convolutions":
        model = fake_quantize.prepare(model.eval()).train()
        model(resnet.random_images(2))
    before = copy.deepcopy(model.state_dict())
    assert arithmetic.step_seconds(model, resnet.random_images(4), precision) > 0
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.usefixtures("own_cache", "three_blocks")
def test_a_resumed_training_keeps_its_precision(
    few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    job = Job(few, "resnet34", 4, QUICK)
    monkeypatch.setattr(arithmetic, "choose", lambda *_: "bfloat16")
    with monkeypatch.context() as patch:
        patch.setattr("qmodels.training.progress.Reporter.end_epoch", killed)
        with pytest.raises(Killed):
            loop.train(job)
    monkeypatch.setattr(arithmetic, "choose", lambda *_: pytest.fail("it is probed again"))
    resumed = loop.train(job)
    assert resumed.precision == "bfloat16"
    assert loop.train(job) == resumed, "what was trained in either precision is found"


@pytest.mark.usefixtures("own_cache", "three_blocks")
@pytest.mark.parametrize("quantization_aware", [True, False])
def test_fine_tuning_learns_with_convolutions_in_bfloat16(
    quantization_aware: bool, few: Dataset, parent: Checkpoint
) -> None:
    tuned = loop.train(
        Job(
            few,
            "resnet34",
            8,
            FINE_TUNING["fine-tune"].with_epochs(2),
            parent=parent,
            quantization_aware=quantization_aware,
            reduced_precision=True,
        )
    )
    assert tuned.precision == "bfloat16-convolutions"
    assert tuned.top1 > parent.top1 - 1
