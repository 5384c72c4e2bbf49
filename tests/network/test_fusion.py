from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.network import resnet
from qmodels.network.fusion import chains, fuse
from qmodels.system import defaults
from qmodels.system.errors import UserError


def randomize(model: nn.Module) -> nn.Module:
    """Batch norms as after training: their defaults would make fusion trivial."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor, low, high in (
                (module.weight, -1.0, 2.0),
                (module.bias, -1.0, 1.0),
                (module.running_mean, -1.0, 1.0),
                (module.running_var, 0.1, 2.0),
            ):
                tensor.data.uniform_(low, high, generator=generator)
    return model.eval()


@pytest.mark.parametrize(
    ("architecture", "batch_norms_left"),
    # Pre-activation: each block's first, and the last, follow no convolution of their own.
    [("resnet34", 0), ("preact_resnet34", 17)],
)
def test_what_should_vanish_does(architecture: str, batch_norms_left: int) -> None:
    model = randomize(resnet.build(architecture, 4, 10))
    fused = fuse(model)
    left = [
        module
        for module in fused.modules()
        if isinstance(module, nn.BatchNorm2d) and not isinstance(module, nn.Identity)
    ]
    assert len(left) == batch_norms_left
    buffers = dict(fused.named_buffers())
    assert len(buffers) == 3 * batch_norms_left
    folded = 36 if architecture == "resnet34" else 16
    with_bias = [m for m in fused.modules() if type(m) is nn.Conv2d and m.bias is not None]
    assert len(with_bias) == folded
    # Each folded batch norm gives up a weight and a bias; its convolution gains a bias.
    assert len(list(fused.parameters())) == len(list(model.parameters())) - folded


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
def test_fused_and_unfused_classify_alike(architecture: str) -> None:
    model = randomize(resnet.build(architecture, 8, 10))
    x = resnet.random_images(4)
    with torch.inference_mode():
        expected, fused = model(x), fuse(model)(x)
    noise = (fused - expected).norm() / expected.norm()
    assert 0 < noise < 1e-4


@pytest.mark.parametrize("architecture", defaults.ARCHITECTURES)
def test_fusing_twice_changes_nothing(architecture: str) -> None:
    once = fuse(randomize(resnet.build(architecture, 4, 10)))
    twice = fuse(once)
    assert str(once) == str(twice)
    state = twice.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in once.state_dict().items())
    assert len(state) == len(once.state_dict())


def test_the_original_is_left_alone() -> None:
    model = randomize(resnet.build("resnet34", 4, 10))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fuse(model)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_training_mode_is_refused() -> None:
    with pytest.raises(UserError, match="training mode"):
        fuse(resnet.build("resnet34", 4, 10).train())


def test_what_can_not_be_traced_is_left_as_it_is() -> None:
    class Branches(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self[1](self[0](x))
            return out if out.sum() > 0 else -out

    model = Branches(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    assert str(fuse(model)) == str(model)
    assert isinstance(fuse(nn.Sequential(*model).eval())[1], nn.Identity)


def test_a_convolution_that_is_called_twice_is_not_fused() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.bn(self.conv(x)) + self.conv(x)
            return out

    model = randomize(Shared())
    assert chains(model) == ()
    images = resnet.random_images(2)
    assert torch.equal(fuse(model)(images), model(images))


class Pair(nn.Module):
    """A convolution and its batch norm, to which a test adds something."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out


def two_names(model: Pair) -> None:
    model.alias = model.conv


def a_hook(model: Pair) -> None:
    model.conv.register_forward_hook(lambda module, inputs, output: 2 * output)


def no_statistics(model: Pair) -> None:
    model.bn = nn.BatchNorm2d(3, track_running_stats=False)


def a_part_in_training(model: Pair) -> None:
    model.bn.train()


@pytest.mark.parametrize("change", [two_names, a_hook, no_statistics, a_part_in_training])
def test_what_can_not_be_folded_computes_the_same(change: Callable[[Pair], None]) -> None:
    model = Pair()
    randomize(model)
    change(model)
    images = resnet.random_images(4)
    with torch.inference_mode():
        assert torch.equal(fuse(model)(images), model(images))


def test_a_weight_that_the_forward_reads_is_not_folded() -> None:
    class Tied(Pair):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.conv.weight.sum()

    model = randomize(Tied())
    images = resnet.random_images(4)
    with torch.inference_mode():
        assert torch.equal(fuse(model)(images), model(images))


def test_a_forward_that_keeps_what_passes_keeps_no_proxy() -> None:
    class Keeps(Pair):
        last: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.last = x
            return super().forward(x)

    model: Any = randomize(Keeps())
    fused = fuse(model)
    assert model.last is None
    assert fused.last is None
    assert isinstance(fused.bn, nn.Identity)
