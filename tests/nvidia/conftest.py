"""A GPU for those who have none: it runs what is launched, and remembers what graphs captured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from qmodels.nvidia import graphs

Launch = Callable[[], None]


class Graph:
    """As ``torch.cuda.CUDAGraph``: what was launched while it captured, launched again."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def replay(self) -> None:
        for launch in self.launches:
            launch()


class Gpu:
    """What ``qmodels.nvidia`` asks of ``torch.cuda``; its memory is sizes at addresses."""

    def __init__(self) -> None:
        self.capturing: Graph | None = None
        self.streams: list[Any] = []
        self.live: dict[int, int] = {}
        self.given = 0
        self.most = 0

    def launch(self, kernel: Launch) -> None:
        kernel()
        if self.capturing is not None:
            self.capturing.launches.append(kernel)

    @contextmanager
    def graph(self, graph: Graph, stream: Any = None) -> Iterator[None]:
        self.streams.append(stream)
        self.capturing = graph
        yield
        self.capturing = None

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.streams.append(stream)
        yield

    def allocate(self, size: int) -> int:
        self.given += 1
        address = 512 * self.given
        self.live[address] = size
        self.most = max(self.most, self.memory_allocated())
        return address

    def free(self, address: int) -> None:
        del self.live[address]

    def memory_allocated(self) -> int:
        return sum(self.live.values())

    def max_memory_allocated(self) -> int:
        return self.most

    def reset_peak_memory_stats(self) -> None:
        self.most = self.memory_allocated()

    def synchronize(self) -> None:
        pass

    def empty_cache(self) -> None:
        pass


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """A GPU whose tensors lie on the CPU."""
    gpu = Gpu()

    def stream() -> SimpleNamespace:
        return SimpleNamespace(cuda_stream=0, wait_stream=lambda other: None)

    for name in ("cuda", "graphs", "triton"):
        monkeypatch.setattr(f"qmodels.nvidia.{name}.DEVICE", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", stream)
    monkeypatch.setattr(torch.cuda, "stream", gpu.stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", gpu.graph)
    monkeypatch.setattr(torch.cuda, "caching_allocator_alloc", gpu.allocate)
    monkeypatch.setattr(torch.cuda, "caching_allocator_delete", gpu.free)
    graphs.side_stream.cache_clear()
    yield gpu
    graphs.side_stream.cache_clear()
