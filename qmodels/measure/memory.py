"""Memory: of one forward by the profiler, and what a process holds for an artifact.

The study's "memory" column adds rows of the profiler's table, one for fp32 and three for int8.
The table is kept as it was; the totals beside it count every allocation once, for any variant.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from qmodels import child
from qmodels.metric import Metric, measured
from qmodels.runtimes.dispatch import Runnable
from qmodels.variants.artifact import Artifact

# The profiler logs its start and stop to stderr unless told not to before it first starts.
os.environ.setdefault("KINETO_LOG_LEVEL", "5")

WARMUP_FORWARDS = 3
TOP_ROWS = 10
# At the same time. Where small blocks happen to lie in pages moves what a process of OpenVINO holds
# by 1.5 %, and a second copy of the smallest network's int8 weights is 3 % of it.
PROCESSES = 3


@dataclass(frozen=True)
class Row:
    """One operator of the profiler's table: bytes it and its callees, or it alone, kept, net."""

    name: str
    cpu_bytes: int
    self_cpu_bytes: int
    calls: int


@dataclass(frozen=True)
class Profile:
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
            "allocated_bytes": measured("allocated_bytes", self.allocated_bytes),
            "peak_bytes": measured("peak_bytes", self.peak_bytes),
            "operator_calls": measured("operator_calls", self.operator_calls),
        }


def profile(forward: Runnable, images: Tensor) -> Profile:
    """Profile one forward with ``torch.profiler``, after warm-up."""
    with torch.inference_mode():
        for _ in range(WARMUP_FORWARDS):
            forward(images)
        with recording() as profiler:
            forward(images)
    averages = profiler.key_averages()
    rows = [
        Row(event.key, event.cpu_memory_usage, event.self_cpu_memory_usage, event.count)
        for event in averages
        if event.key != "[memory]"
    ]
    allocated, peak = totals(profiler)
    return Profile(
        rows=tuple(sorted(rows, key=lambda row: (-row.cpu_bytes, -row.calls, row.name))),
        allocated_bytes=allocated,
        peak_bytes=peak,
    )


def recording() -> torch.profiler.profile:
    """A profiler of the CPU that records every allocation."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    return torch.profiler.profile(activities=activities, profile_memory=True)


def totals(profiler: torch.profiler.profile) -> tuple[int, int]:
    """Bytes allocated while a profiler recorded, and the most of them that lived at a time."""
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


def table(profiled: Profile) -> str:
    """The study's table: its columns, its top ten rows."""
    lines = [f"{'Name':<36}{'CPU Mem':>12}{'Self CPU Mem':>14}{'# of Calls':>12}"]
    lines += [
        f"{row.name:<36}{readable(row.cpu_bytes):>12}{readable(row.self_cpu_bytes):>14}{row.calls:>12}"
        for row in profiled.rows[:TOP_ROWS]
    ]
    return "\n".join(lines)


def readable(size: int) -> str:
    """Bytes in the profiler's units, which are powers of 1,024."""
    for limit, unit in ((2**20, "Mb"), (2**10, "Kb")):
        if abs(size) >= limit:
            return f"{size / limit:.2f} {unit}"
    return f"{size} b"


def held(artifact: Artifact, threads: int) -> dict[str, Metric]:
    """What fresh processes that load an artifact and run it hold for it, and their peak in all.

    The medians of ``PROCESSES``; ``memory_bytes`` is left out where the kernel does not tell.

    Raises:
        UserError: a process failed.
    """
    with ThreadPoolExecutor(PROCESSES) as pool:
        told = list(pool.map(lambda _: ask(artifact, threads), range(PROCESSES)))
    found = {"rss_bytes": measured("rss_bytes", median(one["resident"] for one in told))}
    known = [one["anonymous"] + one["mapped"] for one in told if one["anonymous"] is not None]
    if known:
        found["memory_bytes"] = measured("memory_bytes", median(known))
    return found


def ask(artifact: Artifact, threads: int) -> dict[str, Any]:
    """What ``footprint.answer`` tells of an artifact, in a process as its runtime is deployed.

    Raises:
        UserError: that process failed.
    """
    request = {
        "module": artifact.variant.format.served_by,
        "variant": artifact.variant.name,
        "folder": str(artifact.folder),
        "threads": threads,
    }
    with child.start("qmodels.measure.footprint") as process:
        told: dict[str, Any] = process.ask(request)
    return told
