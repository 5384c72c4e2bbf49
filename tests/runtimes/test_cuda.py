"""CUDA graphs: one for each batch size, with what captures them replaced."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from qmodels.runtimes import cuda
from qmodels.runtimes.cuda import InPrecision


@dataclass(frozen=True)
class Captured:
    """As a graph does: computes for one shape only, always into the same memory."""

    forward: cuda.Runnable
    shape: tuple[int, ...]

    def replay(self, images: Tensor) -> Tensor:
        assert images.shape == self.shape
        return self.forward(images)


def test_each_batch_size_is_captured_once_and_from_a_forward_of_its_own() -> None:
    captured: list[tuple[int, ...]] = []
    made: list[int] = []

    def forwards() -> cuda.Runnable:
        made.append(len(made))
        place = made[-1]
        return lambda images: images.sum((1, 2, 3)) + 100 * place

    def capture(forward: cuda.Runnable, shape: tuple[int, ...]) -> Captured:
        captured.append(shape)
        return Captured(forward, shape)

    run = cuda.as_graphs(forwards, capture)  # type: ignore[arg-type]
    for count in (1, 8, 1, 8, 3):
        images = torch.full((count, 3, 2, 2), 2.0)
        place = {1: 0, 8: 1, 3: 2}[count]
        assert run(images).tolist() == [24.0 + 100 * place] * count
    assert captured == [(1, 3, 2, 2), (8, 3, 2, 2), (3, 3, 2, 2)]


def test_only_the_latest_graphs_keep_their_memory() -> None:
    captured: list[int] = []

    def capture(forward: cuda.Runnable, shape: tuple[int, ...]) -> Captured:
        captured.append(shape[0])
        return Captured(forward, shape)

    run = cuda.as_graphs(lambda: lambda images: images, capture)  # type: ignore[arg-type]
    for count in (*range(1, cuda.MOST_GRAPHS + 2), cuda.MOST_GRAPHS, 1):
        run(torch.zeros(count, 3, 2, 2))
    assert captured == [*range(1, cuda.MOST_GRAPHS + 2), 1]


def test_it_runs_in_inference_mode_whatever_the_caller_is_in() -> None:
    modes: list[bool] = []

    def forward(images: Tensor) -> Tensor:
        modes.append(torch.is_inference_mode_enabled())
        return images

    run = cuda.as_graphs(lambda: forward, Captured)  # type: ignore[arg-type]
    run(torch.zeros(1, 3, 2, 2))
    with torch.inference_mode():
        run(torch.zeros(1, 3, 2, 2))
    assert modes == [True, True]


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_a_network_computes_in_its_precision_and_channels_last(precision: torch.dtype) -> None:
    seen: list[Tensor] = []

    class Probe(torch.nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend((x, self.weight))
            return super().forward(x).mean((2, 3))

    network = InPrecision(Probe(3, 5, 3), precision)
    logits = network(torch.randn(2, 3, 8, 8))
    assert (logits.dtype, logits.shape) == (torch.float32, (2, 5))
    for one in seen:
        assert one.dtype == precision
        assert one.is_contiguous(memory_format=torch.channels_last)
