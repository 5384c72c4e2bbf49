"""Measuring on a GPU: the arithmetic, and what is asked of the card, with fakes for it."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from qmodels.backends.base import ForwardFn
from qmodels.nvidia import times
from qmodels.nvidia.times import Card, GpuTimes, Multiplied
from qmodels.system import machine

IMAGES = torch.zeros(8, 3, 32, 32)


# Multiprocessors, typical clock, and dense peaks in 1e12 operations a second of data sheets.
@pytest.mark.parametrize(
    ("gpu", "int8", "float16", "float32"),
    [
        (Card("cuda-sm80", 108, 1.410e9), 624, 312, 19.5),  # A100
        (Card("cuda-sm89", 142, 2.520e9), 733, 366, 91.6),  # L40S
        (Card("cuda-sm89", 128, 2.520e9), 660.6, 330.3, 82.6),  # RTX 4090
        (Card("cuda-sm90", 132, 1.830e9), 1979, 989.4, 62),  # H100 SXM, float32 at that clock
    ],
)
def test_peaks_are_those_of_data_sheets(
    gpu: Card, int8: float, float16: float, float32: float
) -> None:
    peaks: dict[Multiplied, float] = {"int8": int8, "float16": float16, "float32": float32}
    for multiplied, expected in peaks.items():
        assert times.peak(gpu, multiplied) == pytest.approx(expected * 1e12, rel=0.01)


def test_a_peak_that_is_not_known_is_none() -> None:
    assert times.peak(Card("cuda-sm75", 72, 1.5e9), "int8") is None
    assert times.peak(Card("cuda-sm90", 132, None), "int8") is None
    assert GpuTimes(np.array([0.001]), 1, 10, None).share_of_peak is None


def test_speed_is_of_the_median_round() -> None:
    gpu_times = GpuTimes(np.array([0.004, 0.002, 0.9]), batch_size=256, macs=10**9, peak=1e15)
    assert gpu_times.latency_ms == pytest.approx(4)
    assert gpu_times.images_per_second == pytest.approx(64_000)
    assert gpu_times.share_of_peak == pytest.approx(2 * 256e9 / 0.004 / 1e15)


def test_the_card_is_what_torch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(multi_processor_count=132, clock_rate=1_980_000)
    monkeypatch.setattr(machine, "gpu_class", lambda: "cuda-sm90")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert times.card() == Card("cuda-sm90", 132, 1.98e9)
    del properties.clock_rate
    assert times.card().clock_hz is None


def test_models_take_turns_in_an_order_that_is_turned_round() -> None:
    visited: list[str] = []
    warmed: list[str] = []
    names = ("a", "b", "c")

    def model(name: str) -> ForwardFn:
        def forward(images: Tensor) -> Tensor:
            warmed.append(name)
            return images

        forward.name = name  # type: ignore[attr-defined]
        return forward

    def visit(forward: ForwardFn, images: Tensor) -> float:
        assert images is IMAGES
        visited.append(forward.name)  # type: ignore[attr-defined]
        return float(len(visited))

    seconds = times.seconds_in_turn(
        {name: model(name) for name in names}, IMAGES, rounds=3, visit=visit
    )
    assert "".join(visited) == "abccbaabc"
    assert warmed == list(names), "compiling is not timed"
    assert seconds["a"].tolist() == [1, 6, 7]


def test_events_time_the_timed_forwards_alone() -> None:
    clock = [0.0]
    waited: list[float] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            self.at = float("nan")

        def record(self) -> None:
            self.at = clock[0]

        def synchronize(self) -> None:
            waited.append(self.at)

        def elapsed_time(self, other: "Event") -> float:
            assert waited == [other.at], "the GPU may not be done yet"
            return other.at - self.at

    def forward(images: Tensor) -> Tensor:
        clock[0] += 3.0  # milliseconds
        return images

    assert times.seconds_by_events(forward, IMAGES, Event) == pytest.approx(0.003)
    assert clock[0] == 3 * (times.UNTIMED_FORWARDS + times.TIMED_FORWARDS)


class Allocator:
    live, most, cached = 500, 500, 0

    def allocate(self, size: int) -> None:
        self.live += size
        self.most = max(self.most, self.live)

    def synchronize(self) -> None:
        pass

    def empty_cache(self) -> None:
        self.cached = 0

    def memory_allocated(self) -> int:
        return self.live

    def max_memory_allocated(self) -> int:
        return self.most

    def reset_peak_memory_stats(self) -> None:
        self.most = self.live


def test_peak_memory_counts_the_second_load_from_where_it_began() -> None:
    allocator = Allocator()
    scratch = iter((10_000, 7))  # tuning takes much the first time

    def load() -> ForwardFn:
        weights = 100
        allocator.allocate(weights)

        def forward(images: Tensor) -> Tensor:
            extra = next(scratch)
            allocator.allocate(extra)
            allocator.allocate(-extra)
            allocator.allocate(-weights)  # freed with the model
            return images

        return forward

    assert times.peak_bytes(load, IMAGES, allocator) == 107


def test_what_is_left_of_the_first_load_does_not_hide_what_the_second_takes() -> None:
    """Models in cycles wait for the collector, which capturing calls."""
    allocator = Allocator()

    class Model:
        def __init__(self) -> None:
            self.itself = self
            allocator.allocate(100)

        def __call__(self, images: Tensor) -> Tensor:
            gc.collect()
            allocator.allocate(50)
            allocator.allocate(-50)
            return images

        def __del__(self) -> None:
            allocator.allocate(-100)

    gc.disable()
    try:
        assert times.peak_bytes(Model, IMAGES, allocator) == 150
    finally:
        gc.enable()


def test_metrics_are_of_the_same_rounds() -> None:
    gpu_times = GpuTimes(np.array([0.004, 0.002, 0.9]), batch_size=8, macs=10**9, peak=1e15)
    metrics = times.metrics(gpu_times, np.array([0.008, 0.004, 0.9]), peak_bytes=1000)
    assert metrics["gpu_ratio"].value == pytest.approx(0.5)
    assert metrics["latency_ms"].value == pytest.approx(4)
    assert metrics["gpu_peak_bytes"].value == 1000
    assert "peak_share" in metrics
    unknown = times.metrics(GpuTimes(gpu_times.seconds, 8, 10**9, None), gpu_times.seconds, 0)
    assert "peak_share" not in unknown
    assert unknown["gpu_ratio"].value == 1
