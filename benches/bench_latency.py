"""Latency on the CPU, in fresh processes that take turns, with a base where one is named.

Timed: every forward of the variant in these processes.
"""

from collections.abc import Callable, Sequence

import pytest

from qmodels.gate import Details
from qmodels.gate.latency import Timings
from qmodels.harness.records import Record
from qmodels.harness.session import BenchSession
from qmodels.measure.replay import REPLAY
from qmodels.system import machine
from qmodels.variants import Variant


@pytest.mark.qmodels_processor("cpu")
@pytest.mark.benchmark(group="latency", timer=REPLAY.timer)
@pytest.mark.parametrize("batch_size", [1, 8], ids=["b1", "b8"])
@pytest.mark.usefixtures("qmodels_artifact")
def bench_latency(
    qmodels_session: BenchSession,
    qmodels_variant: Variant,
    qmodels_latencies: Callable[[str, int], Timings],
    qmodels_externally_timed: Callable[[Sequence[float]], None],
    qmodels_record: Record,
    batch_size: int,
) -> None:
    """latency_ms, latency_ratio, probe_ratio; with a base, latency_change."""
    timings = qmodels_latencies(qmodels_variant.name, batch_size)
    qmodels_externally_timed(timings.seconds)
    qmodels_record(
        timings.metrics(),
        batch_size=batch_size,
        threads=qmodels_session.settings.threads,
        cpus=len(machine.usable_cpus()),
        details=Details(base_seconds=timings.base_seconds),
    )
