"""A trained network of three residual blocks: variants of it are built in a second.

``python -m tests.small`` trains it anew, on the digits.
"""

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from torch import nn

from qmodels import data
from qmodels.data import Dataset
from qmodels.network import Network, open_network, resnet
from qmodels.quantize import fake_quantize
from qmodels.training import checkpoints, loop
from qmodels.training.job import Job
from qmodels.training.recipes import RECIPES, ResizeStage

WEIGHTS = Path(__file__).with_name("small.safetensors")
WIDTH = 8
# Of each stage, in place of those of ResNet-34.
BLOCKS = (1, 1, 1)
LAYERS = 10
TOP1 = 98.49

digits = cache(data.load)


def model() -> nn.Module:
    """The float network, in eval mode."""
    network = resnet.Resnet34(WIDTH, 10, blocks=BLOCKS).eval()
    network.load_state_dict(checkpoints.from_storage(load_file(WEIGHTS)))
    return network.requires_grad_(False)


def fake_quantized() -> nn.Module:
    """Its quantization-aware sibling: with ranges, and without more training."""
    network = fake_quantize.prepare(model())
    images = digits("digits").calibration.images[:200]
    network(digits("digits").normalize(images))
    return network.eval()


def network() -> Network:
    """The network, with the images of the digits."""
    dataset = digits("digits")
    return Network(
        name="small",
        module=model,
        calibration=lambda: dataset.normalize(dataset.calibration.images),
        test=lambda: (dataset.normalized(dataset.test.images), dataset.test.labels),
        fine_tuned=lambda console: open_network(f"{__name__}:sibling"),
    )


def sibling() -> Network:
    """The network of ``fake_quantized``."""
    return replace(network(), module=fake_quantized, fine_tuned=None)


def train(dataset: Dataset, folder: Path) -> checkpoints.Checkpoint:
    """Train such a network into a cache."""
    recipe = replace(RECIPES["digits"], stages=(ResizeStage(12, 32),), batch_size=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "BLOCKS_PER_STAGE", BLOCKS)
        patch.setenv("QMODELS_CACHE_DIR", str(folder))
        return loop.train(Job(dataset, "resnet34", WIDTH, recipe))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        trained = train(data.load("digits"), Path(folder))
        save_file(load_file(trained.path), WEIGHTS)
    print(f"top-1 {trained.top1:.2f} %")
