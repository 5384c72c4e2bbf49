import operator
from typing import Any

import pytest
import torch
from torch import fx, nn

from qmodels.network import resnet
from qmodels.system import defaults
from qmodels.system.errors import UserError


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def count_sums(model: nn.Module) -> int:
    return sum(node.target is operator.add for node in fx.symbolic_trace(model).graph.nodes)


def test_resnet34_is_the_one_of_the_study() -> None:
    model = resnet.build("resnet34", width=64, classes=100)
    assert sum(parameter.numel() for parameter in model.parameters()) == 21_328_292
    assert count(model, nn.Conv2d) == 36
    assert count(model, nn.BatchNorm2d) == 36
    assert count_sums(model) == 16


def test_preact_has_a_batch_norm_before_each_convolution_of_a_block_and_one_at_the_end() -> None:
    model = resnet.build("preact_resnet34", width=8, classes=10)
    assert count(model, nn.Conv2d) == 36
    assert count(model, nn.BatchNorm2d) == 33
    assert count_sums(model) == 16


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
@pytest.mark.parametrize(("width", "classes", "size"), [(4, 3, 32), (5, 100, 32), (8, 10, 16)])
def test_any_width_and_number_of_classes(
    architecture: str, width: int, classes: int, size: int
) -> None:
    model = resnet.build(architecture, width, classes).eval()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, classes)


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
def test_every_module_that_computes_is_used_once(architecture: str) -> None:
    """Eager quantization keeps one scale a module, so that a shared one would mix two ranges."""
    model = resnet.build(architecture, 4, 3).eval()
    calls: dict[str, int] = {}
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda *_, name=name: calls.__setitem__(name, calls.get(name, 0) + 1)
            )
    model(torch.zeros(1, 3, 32, 32))
    assert set(calls.values()) == {1}


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
def test_a_block_whose_branch_is_zero_is_its_shortcut(architecture: str) -> None:
    model = resnet.build(architecture, 4, 3).eval()
    block: Any = model.get_submodule("stages.0.1")
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 8, 8)
    expected = x if architecture == "preact_resnet34" else x.relu()
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize(
    ("architecture", "width", "classes", "named"),
    [
        ("resnet18", 8, 10, "resnet34, preact_resnet34"),
        ("resnet34", 0, 10, "width 0"),
        ("resnet34", -3, 10, "width -3"),
        ("resnet34", 8, 0, "0 classes"),
    ],
)
def test_what_makes_no_network_is_refused(
    architecture: str, width: int, classes: int, named: str
) -> None:
    with pytest.raises(UserError, match=named) as caught:
        resnet.build(architecture, width, classes)
    assert "\n" not in str(caught.value)


def test_random_images_are_the_same_for_the_same_seed() -> None:
    assert torch.equal(resnet.random_images(2, seed=1), resnet.random_images(2, seed=1))
    assert not torch.equal(resnet.random_images(2, seed=1), resnet.random_images(2, seed=2))
