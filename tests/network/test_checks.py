"""What is refused of a network, in one line each. A second."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.network import Call, Network, checks, open_network
from qmodels.system.errors import UserError
from tests import outside

CALIBRATION = outside.images(60)[0]
IMAGES, LABELS = outside.images(120)


class Returning(nn.Module):
    """What a module may return that is no logits."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.eval()

    def forward(self, x: Tensor) -> Any:
        if self.kind == "two":
            return x, x
        if self.kind == "image":
            return x
        if self.kind == "nan":
            return torch.full((len(x), 2), torch.nan)
        raise ValueError("no such layer\nand a page of it")


def missing() -> Any:
    raise OSError(2, "No such file or directory", "weights.pt")


def confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """The probability of the right class: a score for each image."""
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


def untrained() -> Network:
    return Network("untrained", outside.Sides().eval(), CALIBRATION, (IMAGES, LABELS))


def test_a_network_that_can_be_measured_passes() -> None:
    checks.check(outside.opened())
    checks.check(replace(outside.opened(), score=confidence))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"module": {}}, "its module is a dict: give an nn.Module"),
        ({"module": outside.Sides()}, "its module is in training mode: call eval"),
        ({"module": Returning("two")}, "its module returns a tuple: return one tensor"),
        ({"module": Returning("image")}, r"returns \(2, 1, 20, 24\) for 2 images: return logits"),
        ({"module": Returning("nan")}, "2 of 2 images have outputs that are not finite: look for"),
        ({"module": Returning("error")}, r"fails on images .* \(ValueError: no such layer\): give"),
        ({"module": missing}, r"can't be read \(FileNotFoundError: .*weights.pt'\): give a module"),
        ({"calibration": None}, r"can't be read \(TypeError: .*\): give a module, images"),
        ({"test": missing}, r"can't be read \(FileNotFoundError: .*weights.pt'\): give a module"),
        ({"test": IMAGES}, r"its test split is a Tensor: give \(images, labels\)"),
        ({"test": (IMAGES, ["bird"] * 120)}, "can't be read .*: give a module, images"),
        ({"calibration": CALIBRATION[:0]}, "no calibration images: give at least one"),
        ({"calibration": CALIBRATION.double()}, "its calibration images are float64: give float32"),
        ({"calibration": CALIBRATION[:, :, :8]}, r"\(1, 20, 24\) and those for calibration \(1, 8"),
        ({"test": (IMAGES[:0], LABELS[:0])}, "it has no test images: give at least one"),
        ({"test": (IMAGES.byte(), LABELS)}, "its test images are uint8: give float32"),
        ({"test": (IMAGES, LABELS[:7])}, "it has 7 labels for 120 test images: give one an image"),
        ({"test": (IMAGES, IMAGES)}, "labels for 120 test images: give one an image"),
        ({"test": (IMAGES, LABELS + 1)}, "labels go from 1 to 2, and its module knows 2 classes"),
        ({"test": (IMAGES, LABELS - 1)}, "labels go from -1 to 0, and its module .*from 0 to 1"),
        (
            {"score": confidence, "test": (IMAGES, LABELS[:7])},
            "it has 7 targets for 120 test images",
        ),
        ({"score": lambda a, b: a}, r"its score is \(2, 2\) for 2 images: return one number an"),
        (
            {"score": lambda a, b: 0.5},
            r"its score is \(\) for 2 images: return one number an image",
        ),
        ({"score": lambda a, b: [0.5, float("nan")]}, "its score is not finite: return a number"),
        ({"score": missing}, "its score fails .*TypeError.*: it takes outputs and targets"),
        ({"call": Call(f"{__name__}:untrained")}, "untrained gives another network at each call"),
    ],
)
def test_what_cannot_be_measured_is_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^network sides: .*{said}") as caught:
        checks.check(replace(outside.opened(), **wrong))
    assert "\n" not in str(caught.value)


def needs_arguments(path: str) -> Network:
    raise AssertionError(path)


def no_network() -> list[str]:
    return []


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_such_module:network", "can't be imported .*: write module:function"),
        (f"{__name__}:nothing", "can't be imported .*: write module:function"),
        ("", "network function '' can't be imported .*: write module:function"),
        (f"{__name__}:needs_arguments", "failed .*missing 1 required .*without arguments"),
        (f"{__name__}:missing", r"failed \(FileNotFoundError: .*weights.pt'\): it is called"),
        (f"{__name__}:no_network", "returns a list: return a qmodels.Network"),
    ],
)
def test_a_function_that_gives_no_network_is_one_line(function: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        open_network(function)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a/b", "", "a b"])
def test_a_name_that_is_no_file_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match="is no file name: use letters"):
        replace(outside.network(), name=name)
