"""Memory of one forward by the profiler, and of a process that serves an artifact.

The study's "memory" column adds rows of the profiler's table, one for fp32 and three for int8. That
table is here as it was; the totals beside it count every allocation once, for any variant.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qmodels.backends.base import ForwardFn
from qmodels.measure import footprint
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import ALLOCATED, MEMORY, OPERATOR_CALLS, PEAK, RSS
from qmodels.measure.operators import Row
from qmodels.system import worker
from qmodels.variants.artifact import Artifact

# The profiler logs its start and stop to stderr unless told not to before it first starts: 5 still
# prints lines named USDT.
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

_WARMUP_FORWARDS = 3


@dataclass(frozen=True)
class MemoryProfile:
    """One forward: the table, largest first, and totals in bytes."""

    rows: tuple[Row, ...]
    allocated_bytes: int
    peak_bytes: int

    @property
    def operator_calls(self) -> int:
        """Calls of operators, those that other operators make included."""
        return sum(row.calls for row in self.rows)

    def metrics(self) -> dict[str, Metric]:
        """Bytes allocated over the forward, peak live bytes, operator calls."""
        return {
            ALLOCATED.name: ALLOCATED.of(self.allocated_bytes),
            PEAK.name: PEAK.of(self.peak_bytes),
            OPERATOR_CALLS.name: OPERATOR_CALLS.of(self.operator_calls),
        }


def profile(forward: ForwardFn, images: Tensor) -> MemoryProfile:
    """Profile one forward with ``torch.profiler``, after warm-up.

    Args:
        images: (N, C, H, W) float32.
    """
    with torch.inference_mode():
        for _ in range(_WARMUP_FORWARDS):
            forward(images)
        with allocation_profiler() as profiler:
            forward(images)
    averages = profiler.key_averages()
    rows = [
        Row(event.key, event.cpu_memory_usage, event.self_cpu_memory_usage, event.count)
        for event in averages
        if event.key != "[memory]"
    ]
    allocated, peak = totals(profiler)
    return MemoryProfile(
        rows=tuple(sorted(rows, key=lambda row: (-row.cpu_bytes, -row.calls, row.name))),
        allocated_bytes=allocated,
        peak_bytes=peak,
    )


def allocation_profiler() -> torch.profiler.profile:
    """A profiler of the CPU that records every allocation."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    return torch.profiler.profile(activities=activities, profile_memory=True)


def totals(profiler: torch.profiler.profile) -> tuple[int, int]:
    """Bytes allocated while a profiler recorded, and the peak of live bytes."""
    # The profiler's public tables net allocations against releases; the raw events do not.
    raw: Any = profiler.profiler
    events = raw.kineto_results.events()
    changes = sorted(
        (event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"
    )
    live = peak = allocated = 0
    for _, size in changes:
        live += size
        allocated += max(0, size)
        peak = max(peak, live)
    return allocated, peak


def process_memory(artifact: Artifact, threads: int) -> dict[str, Metric]:
    """``memory_bytes`` that a fresh process holds for an artifact, and ``rss_bytes``, its peak.

    There is no ``memory_bytes`` where ``unmeasured`` says so.
    """
    memory = ask(artifact, threads)
    metrics = {RSS.name: RSS.of(memory.resident)}
    if memory.used is not None and memory.mapped is not None:
        metrics[MEMORY.name] = MEMORY.of(memory.used + memory.mapped)
    return metrics


def missing_metrics() -> dict[str, str]:
    """The metric that ``process_memory`` lacks on this machine, and why; empty where none."""
    obstacle = footprint.obstacle()
    return {} if obstacle is None else {MEMORY.name: obstacle}


@dataclass(frozen=True)
class Memory:
    """The answer of ``footprint.answer``."""

    used: int | None
    mapped: int | None
    resident: int
    torch: bool


def ask(artifact: Artifact, threads: int) -> Memory:
    """The answer of ``footprint.answer``, from a process as the artifact's runtime is deployed."""
    with worker.start("qmodels.measure.footprint", environment=footprint.ONE_ALLOCATOR) as process:
        return process.ask(Memory, request(artifact, threads))


def request(artifact: Artifact, threads: int) -> dict[str, Any]:
    """The request of ``footprint.answer`` for an artifact."""
    return {
        "module": artifact.variant.backend.service or "qmodels.measure.torch_service",
        "variant": artifact.variant.name,
        "folder": str(artifact.folder),
        "threads": threads,
        "input_shape": artifact.input_shape,
    }
