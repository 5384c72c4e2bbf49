"""Histograms of many images, in batches. Two seconds."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from qmodels.quantize import histograms
from qmodels.quantize.histograms import HistogramObserver
from tests.eager import needs_eager_quantization

VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda values: values,
    "positive": torch.relu,
    "far from zero": lambda values: 0.1 * values + 3,
    "with outliers": lambda values: values**5,
    "negative": lambda values: -values.exp(),
    "few levels": torch.round,
    "all the same": lambda values: torch.full_like(values, 2.5),
}


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
    assert batched.qparams() == whole.qparams()


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


@needs_eager_quantization
@given(st.integers(0, 2**31), st.sampled_from([10, 1000, 100_000]), st.sampled_from(sorted(VALUES)))
@settings(max_examples=50, deadline=None)
def test_ranges_are_those_of_torch(seed: int, count: int, kind: str) -> None:
    """To the bit, for each kind of levels."""
    from torch.ao import quantization

    values = VALUES[kind](torch.randn(count, generator=torch.Generator().manual_seed(seed)))
    for quant_min, dtype, symmetric in (
        (0, torch.quint8, False),
        (-128, torch.qint8, False),
        (-128, torch.qint8, True),
    ):
        scheme = torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine
        expected = quantization.HistogramObserver(dtype=dtype, qscheme=scheme, reduce_range=False)
        observer = HistogramObserver(quant_min=quant_min, symmetric=symmetric)
        expected(values)
        observer(values)
        scale, zero_point = expected.calculate_qparams()
        assert observer.qparams() == (float(scale), int(zero_point))


def test_without_values_the_scale_is_one() -> None:
    assert HistogramObserver().qparams() == (1.0, 0)
