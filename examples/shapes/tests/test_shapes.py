import shapes
import torch


def test_the_network_knows_shapes() -> None:
    images, labels = shapes.draw(400, seed=3)
    with torch.inference_mode():
        assert (shapes.load()(images).argmax(1) == labels).double().mean() > 0.9
