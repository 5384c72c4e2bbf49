"""Histograms of many images, in batches. Two seconds."""

import pytest
import torch
from torch import Tensor, nn

from qmodels.network.eager_quantization import HistogramObserver
from qmodels.quantize import histograms


@pytest.fixture
def images() -> Tensor:
    """More than a batch of 3x224x224, whose ranges grow from image to image."""
    pixels = torch.rand(40, 3, 224, 224, generator=torch.Generator().manual_seed(0)) - 0.5
    return pixels * torch.linspace(0.5, 2, 40)[:, None, None, None]


def test_batches_give_the_histogram_of_all_images_at_once(images: Tensor) -> None:
    """To the last count, though every batch widens the range."""
    whole, batched = HistogramObserver(), HistogramObserver()
    whole(images)
    calls: list[int] = []

    def forward(batch: Tensor) -> None:
        calls.append(len(batch))
        batched(batch)

    histograms.observe(forward, [batched], images)
    assert calls == [27, 13, 27, 13]
    assert batched.histogram.sum() == images.numel()
    assert torch.equal(batched.histogram, whole.histogram)
    assert batched.min_val == images.min()
    assert batched.max_val == images.max()
    assert batched.calculate_qparams() == whole.calculate_qparams()


def test_images_of_one_batch_are_run_once(images: Tensor) -> None:
    observer = HistogramObserver()
    model = nn.Sequential(nn.ReLU(), observer)
    seen: list[int] = []
    model.register_forward_hook(lambda _, inputs, output: seen.append(len(inputs[0])))
    observers = histograms.observers_of(model)
    assert observers == [observer]
    histograms.observe(model, observers, images[:27])
    assert seen == [27]
    assert observer.histogram.sum() == images[:27].numel()
