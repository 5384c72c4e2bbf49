"""CUDA graphs: one for each batch size, with what captures them replaced."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.backends.base import ForwardFn, Stored
from qmodels.network.precision import InPrecision
from qmodels.nvidia import cuda, graphs

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Captured:
    """As a graph does: computes for one shape only, always into the same memory."""

    forward: ForwardFn
    shape: tuple[int, ...]

    def replay(self, images: Tensor) -> Tensor:
        assert images.shape == self.shape
        return self.forward(images)


def test_each_batch_size_is_captured_once_and_from_a_forward_of_its_own() -> None:
    captured: list[tuple[int, ...]] = []
    opened: list[int] = []

    def forwards() -> ForwardFn:
        opened.append(len(opened))
        place = opened[-1]
        return lambda images: images.sum((1, 2, 3)) + 100 * place

    def capture(forward: ForwardFn, shape: tuple[int, ...]) -> Captured:
        captured.append(shape)
        return Captured(forward, shape)

    run = graphs.as_graphs(forwards, capture)  # type: ignore[arg-type]
    for count in (1, 8, 1, 8, 3):
        images = torch.full((count, 3, 2, 2), 2.0)
        place = {1: 0, 8: 1, 3: 2}[count]
        assert run(images).tolist() == [24.0 + 100 * place] * count
    assert captured == [(1, 3, 2, 2), (8, 3, 2, 2), (3, 3, 2, 2)]


def test_only_the_latest_graphs_keep_their_memory() -> None:
    captured: list[int] = []

    def capture(forward: ForwardFn, shape: tuple[int, ...]) -> Captured:
        captured.append(shape[0])
        return Captured(forward, shape)

    run = graphs.as_graphs(lambda: lambda images: images, capture)  # type: ignore[arg-type]
    for count in (*range(1, graphs.MOST_GRAPHS + 2), graphs.MOST_GRAPHS, 1):
        run(torch.zeros(count, 3, 2, 2))
    assert captured == [*range(1, graphs.MOST_GRAPHS + 2), 1]


def test_it_runs_in_inference_mode_whatever_the_caller_is_in() -> None:
    modes: list[bool] = []

    def forward(images: Tensor) -> Tensor:
        modes.append(torch.is_inference_mode_enabled())
        return images

    run = graphs.as_graphs(lambda: forward, Captured)  # type: ignore[arg-type]
    run(torch.zeros(1, 3, 2, 2))
    with torch.inference_mode():
        run(torch.zeros(1, 3, 2, 2))
    assert modes == [True, True]


class Doubling:
    """A forward of a GPU, which reads memory of its own in every launch."""

    def __init__(self, gpu: Any) -> None:
        self.gpu = gpu
        self.factor = torch.full((1,), 2.0)

    def __call__(self, images: Tensor) -> Tensor:
        logits = torch.empty(len(images))
        owned = weakref.ref(self.factor)

        def kernel() -> None:
            factor = owned()
            assert factor is not None, "it reads memory that is freed"
            torch.mul(images.sum((1, 2, 3)), factor, out=logits)

        self.gpu.launch(kernel)
        return logits


def test_a_graph_keeps_alive_what_it_captured_and_no_longer(gpu: Any) -> None:
    forward = Doubling(gpu)
    owned = weakref.ref(forward.factor)
    graph = graphs.capture(forward, (2, 3, 2, 2))
    del forward
    assert graph.replay(torch.ones(2, 3, 2, 2)).tolist() == [24, 24]
    assert graph.replay(torch.full((2, 3, 2, 2), 2.0)).tolist() == [48, 48]
    del graph
    assert owned() is None


def test_so_does_a_model_for_each_of_its_graphs(gpu: Any) -> None:
    owned: list[weakref.ref[Tensor]] = []

    def forwards() -> ForwardFn:
        forward = Doubling(gpu)
        owned.append(weakref.ref(forward.factor))
        return forward

    run = graphs.as_graphs(forwards)
    for count in (1, 2, 1, 2):
        assert run(torch.ones(count, 3, 2, 2)).tolist() == [24] * count
    assert [reference() is not None for reference in owned] == [True, True]
    del run
    assert [reference() for reference in owned] == [None, None]


def test_all_graphs_are_captured_in_one_stream(gpu: Any) -> None:
    for _ in range(3):
        graphs.capture(Doubling(gpu), (1, 3, 2, 2))
    assert len(gpu.streams) == 6, "three warmed up, three captured"
    assert all(stream is gpu.streams[0] is not None for stream in gpu.streams)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Shapes of images that were compiled for, by a backend that runs graphs as they are."""
    shapes: list[tuple[int, ...]] = []

    def backend(graph: Any, inputs: list[Any]) -> Callable[..., Any]:
        (images,) = (
            tensor
            for tensor in inputs
            if tensor.dim() == 4 and not isinstance(tensor, nn.Parameter)
        )
        shapes.append(tuple(images.shape))
        run: Callable[..., Any] = graph.forward
        return run

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    cuda.compile_forward.cache_clear()
    yield shapes
    cuda.compile_forward.cache_clear()


def small(precision: torch.dtype, channels: int = 4) -> InPrecision:
    convolution = nn.Conv2d(3, channels, 3, padding=1)
    pooled = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return InPrecision(pooled, precision).eval()


def test_every_precision_is_compiled_for_every_shape(
    compilations: list[tuple[int, ...]],
    save: Callable[..., Stored],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten shapes of three precisions: more than Dynamo keeps with one function's code."""
    monkeypatch.setattr(cuda, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(graphs, "as_graphs", lambda forwards: forwards())
    shapes = [(count, 3, 8, 8) for count in range(1, 11)]
    for precision in PRECISIONS:
        network = small(precision)
        forward = cuda.BACKEND.load(save(cuda.BACKEND, network, partial(small, precision)))
        for shape in shapes:
            images = torch.randn(shape)
            with torch.inference_mode():
                torch.testing.assert_close(forward(images), network(images))
    assert compilations == [*shapes, *shapes, *shapes]


def test_a_network_that_is_loaded_again_is_not_compiled_again(
    compilations: list[tuple[int, ...]],
) -> None:
    """And what compiled it keeps nothing of it."""
    shape = (2, 3, 8, 8)
    weights = []
    with torch.inference_mode():
        for _ in range(3):
            network = small(torch.float32)
            images = torch.randn(shape)
            logits = cuda.compile_forward(torch.float32, shape)(network, images)
            torch.testing.assert_close(logits, network(images))
            weights.append(weakref.ref(next(network.parameters())))
            del network
    assert [reference() for reference in weights] == [None] * 3
    assert compilations == [shape]


def test_beyond_dynamos_limit_it_fails_instead_of_running_uncompiled(
    compilations: list[tuple[int, ...]],
) -> None:
    import torch._dynamo.config

    shape = (2, 3, 8, 8)
    forward = cuda.compile_forward(torch.float32, shape)
    with torch._dynamo.config.patch(recompile_limit=2), torch.inference_mode():
        for channels in (1, 2):
            forward(small(torch.float32, channels), torch.randn(shape))
        with pytest.raises(Exception, match=r"fullgraph=True|one_graph=True"):
            forward(small(torch.float32, 3), torch.randn(shape))
    assert len(compilations) == 2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_network_computes_in_its_precision_and_channels_last(precision: torch.dtype) -> None:
    seen: list[Tensor] = []

    class Probe(torch.nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            seen.extend((x, self.weight))
            return super().forward(x).mean((2, 3))

    network = InPrecision(Probe(3, 5, 3), precision, torch.channels_last)
    logits = network(torch.randn(2, 3, 8, 8))
    assert (logits.dtype, logits.shape) == (torch.float32, (2, 5))
    for tensor in seen:
        assert tensor.dtype == precision
        assert tensor.is_contiguous(memory_format=torch.channels_last)
