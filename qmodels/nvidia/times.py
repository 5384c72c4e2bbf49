"""Latency, throughput, memory, and share of the card's peak, on an NVIDIA GPU.

Times are those of the GPU, by events in its stream: images lie there before and logits after.
Between two events a model runs several times, so that what the processor does to launch a forward
is hidden behind the forward before it. Models take turns, and the order is reversed in every second
round (A B B A). So a drift of the clock with temperature affects all of them alike.
"""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qmodels.backends.base import ForwardFn
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import GPU_PEAK, GPU_RATIO, IMAGES_PER_SECOND, LATENCY, PEAK_SHARE
from qmodels.system import machine

BATCH_SIZES = (1, 8, 256)
_ROUNDS = 50
UNTIMED_FORWARDS, TIMED_FORWARDS = 5, 20

# What all others are compared with: the precision that a GPU runs without quantization.
GPU_REFERENCE = "cuda-fp16"

Multiplied = Literal["float32", "float16", "int8"]
# By the arithmetic of a variant: tensor cores are as fast in both halves.
MULTIPLIED: dict[str, Multiplied] = {
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "float16",
    "int8": "int8",
}
# Operations, two for a multiply-accumulate, that a multiprocessor does in a clock cycle: in
# float32 outside of tensor cores, else dense in them. From NVIDIA's architecture whitepapers
# (A100, 2020; Ada, 2022; H100, 2022). bfloat16 is as fast as float16; GeForce cards of Ada do
# half of it where they add in float32.
_OPERATIONS_PER_CLOCK: dict[str, dict[Multiplied, int]] = {
    "cuda-sm80": {"float32": 128, "float16": 2048, "int8": 4096},
    "cuda-sm89": {"float32": 256, "float16": 1024, "int8": 2048},
    "cuda-sm90": {"float32": 256, "float16": 4096, "int8": 8192},
}


@dataclass(frozen=True)
class Card:
    """A GPU: its class, multiprocessors, and highest clock in Hz; None if it is unknown."""

    gpu_class: str
    multiprocessors: int
    clock_hz: float | None


@dataclass(frozen=True)
class GpuTimes:
    """Times of a model at a batch size.

    Attributes:
        seconds: of a forward in each round, (rounds,).
        macs: multiply-accumulates for an image.
        peak: the card's operations a second in this arithmetic; None where it is not known.
    """

    seconds: NDArray[np.float64]
    batch_size: int
    macs: int
    peak: float | None

    @property
    def latency_ms(self) -> float:
        """Median time of a forward, in milliseconds."""
        return 1000 * float(np.median(self.seconds))

    @property
    def images_per_second(self) -> float:
        """Throughput by the median forward."""
        return 1000 * self.batch_size / self.latency_ms

    @property
    def share_of_peak(self) -> float | None:
        """Operations as a share of the card's peak, from 0 to 1."""
        return None if self.peak is None else 2 * self.macs * self.images_per_second / self.peak


def metrics(times: GpuTimes, reference: NDArray[np.float64], peak_bytes: int) -> dict[str, Metric]:
    """Metrics of a model at a batch size, for a run record.

    Args:
        reference: seconds of ``GPU_REFERENCE`` in the same rounds, (rounds,).
    """
    metrics = {
        LATENCY.name: LATENCY.of(times.latency_ms),
        IMAGES_PER_SECOND.name: IMAGES_PER_SECOND.of(times.images_per_second),
        GPU_RATIO.name: GPU_RATIO.of(float(np.median(times.seconds / reference))),
        GPU_PEAK.name: GPU_PEAK.of(peak_bytes),
    }
    if times.share_of_peak is not None:
        metrics[PEAK_SHARE.name] = PEAK_SHARE.of(times.share_of_peak)
    return metrics


def card() -> Card:
    """This machine's first NVIDIA GPU."""
    gpu_class = machine.gpu_class()
    assert gpu_class is not None
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    kilohertz = getattr(properties, "clock_rate", None)  # not in every torch
    clock = None if kilohertz is None else 1000.0 * kilohertz
    return Card(gpu_class, properties.multi_processor_count, clock)


def peak(gpu: Card, multiplied: Multiplied) -> float | None:
    """Operations a second that a card can do at its highest clock; None where it is not known.

    Data sheets count a lower, typical clock: what is reached is a smaller share of this peak.
    """
    rates = _OPERATIONS_PER_CLOCK.get(gpu.gpu_class)
    if rates is None or gpu.clock_hz is None:
        return None
    return rates[multiplied] * gpu.multiprocessors * gpu.clock_hz


def seconds_in_turn(
    models: Mapping[str, ForwardFn],
    images: Tensor,
    *,
    rounds: int = _ROUNDS,
    visit: Callable[[ForwardFn, Tensor], float] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Seconds of a forward, (rounds,) of each model, all in turn.

    Args:
        images: (N, C, H, W) float32, normalized, on the GPU.
        visit: gives the seconds of a forward; by events where it is not named.
    """
    visit = visit or seconds_by_events
    for forward in models.values():  # compiles, tunes, captures
        forward(images)
    times: dict[str, list[float]] = {name: [] for name in models}
    order = list(models)
    for _ in range(rounds):
        for name in order:
            times[name].append(visit(models[name], images))
        order.reverse()
    return {name: np.asarray(seconds) for name, seconds in times.items()}


def seconds_by_events(
    forward: ForwardFn, images: Tensor, event: Callable[..., Any] = torch.cuda.Event
) -> float:
    """Mean seconds of the timed forwards of a visit, after some that are not."""
    for _ in range(UNTIMED_FORWARDS):
        forward(images)
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    for _ in range(TIMED_FORWARDS):
        forward(images)
    end.record()
    end.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return milliseconds / 1000 / TIMED_FORWARDS


def peak_bytes(load: Callable[[], ForwardFn], images: Tensor, allocator: Any = torch.cuda) -> int:
    """The most bytes that a model takes at a time, from loading it to its first logits.

    Counted is what torch's allocator gives away: weights, all that lies between layers, and
    buffers of graphs, TensorRT's too. Not what the driver keeps: its context and kernels.

    The model is loaded twice, and the second time counts: the first compiles and tunes, which
    takes more memory than running does. Forwards after that live in what the first captured.

    Args:
        images: (N, C, H, W) float32, on the GPU.
        allocator: what counts; ``torch.cuda`` does.
    """
    load()(images)
    gc.collect()  # what is left of the first model must not be freed while the second loads
    allocator.synchronize()
    allocator.empty_cache()
    before: int = allocator.memory_allocated()
    allocator.reset_peak_memory_stats()
    load()(images)
    allocator.synchronize()
    most: int = allocator.max_memory_allocated()
    return most - before
