"""Stubs in networks that have none. Seconds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from qmodels.network import evaluation
from qmodels.system.errors import Unavailable
from qmodels.variants import static
from tests.eager import OBSTACLE

if OBSTACLE:
    pytest.skip(OBSTACLE.reason, allow_module_level=True)
from qmodels.quantize import stubs


class Network(nn.Module):
    """A convolution, something, and a linear layer."""

    def __init__(self, between: Callable[["Network", Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.again = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.hard = nn.Hardswish()
        self.silu = nn.SiLU()
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.between = between
        self.head = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = functional.adaptive_avg_pool2d(self.between(self, x), 4)
        logits: Tensor = self.head(torch.flatten(x, 1))
        return logits


def attention(network: Network, x: Tensor) -> Tensor:
    """Squeeze and excite."""
    return x * torch.sigmoid(x.mean([2, 3], keepdim=True))


def shuffle(network: Network, x: Tensor) -> Tensor:
    count, channels, height, width = x.size()
    x = x.view(count, 2, channels // 2, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(count, -1, height, width)


BETWEEN: dict[str, tuple[Callable[[Network, Tensor], Tensor], int, int]] = {
    # By name: what is between, how many tensors are quantized, and how many dequantized.
    "a sum": (lambda network, x: network.relu(network.again(x) + x), 1, 1),
    "a sum in place": (lambda network, x: functional.relu(network.again(x).add_(x)), 1, 1),
    "a function": (lambda network, x: torch.relu(network.again(x)), 1, 1),
    "a product": (lambda network, x: network.again(x) * x, 1, 1),
    "a concatenation": (lambda network, x: torch.cat([network.again(x), x], dim=1), 1, 1),
    "halves": (lambda network, x: torch.cat(x.chunk(2, dim=1)[::-1], 1), 1, 1),
    "a shuffle": (shuffle, 1, 1),
    "hard-swish": (lambda network, x: network.hard(network.again(x)), 1, 1),
    "what has no quantized counterpart": (lambda network, x: network.silu(x), 2, 2),
    "a parameter": (lambda network, x: x * network.scale, 2, 1),
    "a number": (lambda network, x: 2 * x, 2, 2),
    "attention": (attention, 2, 2),
}


def calibrated(between: Callable[[Network, Tensor], Tensor], images: Tensor) -> Network:
    torch.manual_seed(0)
    model = Network(between)
    with torch.no_grad():
        model.train()(images)
    return model.eval()


@pytest.mark.parametrize("name", BETWEEN)
def test_a_plain_network_is_quantized_where_that_is_known(name: str) -> None:
    between, quantizes, dequantizes = BETWEEN[name]
    images = torch.randn(64, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    model = calibrated(between, images)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.inference_mode():
        wanted = model(images)
        assert evaluation.sqnr_db(stubs.with_stubs(model)(images), wanted) > 90
        quantized = static.quantize(model, images, static.EAGER)
        assert evaluation.sqnr_db(quantized(images), wanted) > 20
    kinds = [type(part).__name__ for part in quantized.modules()]
    assert (kinds.count("Quantize"), kinds.count("DeQuantize")) == (quantizes, dequantizes)
    assert "ConvReLU2d" in kinds
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_module_that_is_used_twice_is_not_fused() -> None:
    images = torch.randn(64, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    model = calibrated(lambda network, x: network.relu(network.again(network.relu(x))), images)
    graph = stubs.with_stubs(model)
    fused = [name for name, part in graph.named_modules() if type(part).__name__ == "ConvReLU2d"]
    assert fused == ["conv"]
    with torch.inference_mode():
        assert torch.allclose(graph(images), model(images), atol=1e-5)


def test_what_can_not_be_traced_is_unavailable() -> None:
    def depends(network: Network, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x

    model = Network(depends).eval()
    with pytest.raises(Unavailable, match=r"^torch.fx can't trace Network \(.*\): choose a"):
        static.prepare(model, static.EAGER)


def test_sums_round_once_with_their_relu() -> None:
    images = torch.randn(8, 3, 12, 12)
    graph = stubs.with_stubs(calibrated(BETWEEN["a sum"][0], images))
    operations: list[Any] = [p for p in graph.modules() if isinstance(p, stubs.Operation)]
    assert [operation.name for operation in operations] == ["add_relu"]
    assert type(operations[0].functional).__name__ == "FloatFunctional"
