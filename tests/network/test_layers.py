from torch import Tensor, nn

from qmodels.network import resnet
from qmodels.network.layers import Layer, assign, executed, owner


class Backwards(nn.Module):
    """Runs its layers in another order than it defines them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 2)
        self.second = nn.Conv2d(4, 8, 3, groups=2)
        self.first = nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.second(self.first(images)).mean((2, 3)))
        return logits


LAYERS = [
    Layer("first", (4, 3, 1, 1), (4, 32, 32)),
    Layer("second", (8, 2, 3, 3), (8, 30, 30)),
    Layer("last", (2, 8), (2,)),
]


def test_layers_come_in_the_order_that_they_run() -> None:
    model = Backwards().eval()
    assert executed(model, resnet.random_images(1)) == LAYERS
    assert not any(module._forward_hooks for module in model.modules())


def test_shapes_alone_name_layers_and_each_once() -> None:
    shapes = [(2, 8), (4, 3, 1, 1), (4, 3, 1, 1), (5, 5)]
    assert assign(shapes, LAYERS) == ["last", "first", None, None]
    twins = [Layer("a", (1, 1)), Layer("b", (1, 1))]
    assert assign([(1, 1), (1, 1)], twins) == ["a", "b"]
    alike = [Layer("fine", (1, 1), (1, 4, 4)), Layer("coarse", (1, 1), (1, 2, 2))]
    outputs = [(1, 2, 2), (1, 4, 4)]
    assert assign([(1, 1), (1, 1)], alike, outputs) == ["coarse", "fine"]


def test_a_node_belongs_to_the_layer_whose_name_it_begins_with() -> None:
    layers = [Layer("block.conv1", (1,)), Layer("block.conv", (1,)), Layer("0", (1,))]
    parts = ("block.conv1.0.Conv", "block.conv.Conv", "0.Conv", "block.conv2.Conv", "block", "")
    assert [owner(part, layers) for part in parts] == [
        *("block.conv1", "block.conv", "0"),
        *(None, None, None),
    ]
