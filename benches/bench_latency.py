"""Latency on the CPU, in fresh processes that take turns, with a base where one is named.

Timed: every forward of the variant in these processes.
"""

from typing import Any

import pytest

from qmodels.measure import latency
from qmodels.measure.replay import Replay

REPLAY = Replay()


@pytest.mark.processor("cpu")
@pytest.mark.benchmark(group="latency", timer=REPLAY.timer)
@pytest.mark.parametrize("batch_size", [1, 8], ids=["b1", "b8"])
def bench_latency(
    benchmark: Any,
    variant: Any,
    artifact: Any,
    settings: Any,
    latencies: Any,
    record: Any,
    batch_size: int,
) -> None:
    """latency_ms, latency_ratio, probe_ratio; with a base, latency_change."""
    timings = latencies(variant.name, batch_size)
    REPLAY.play(timings.seconds)
    benchmark.pedantic(REPLAY.forward, rounds=len(timings.seconds))
    record(
        timings.metrics(),
        batch_size=batch_size,
        threads=settings.threads,
        cpus=len(latency.usable_cpus()),
    )
