"""Latency, throughput and memory on an NVIDIA GPU, in turn with float16 there.

Timed: every visit to the variant, as the mean of its forwards, by events in the GPU's stream.
"""

from collections.abc import Callable, Sequence

import pytest

from qmodels.harness.records import Record
from qmodels.harness.session import BenchSession
from qmodels.measure.replay import REPLAY
from qmodels.nvidia import times
from qmodels.variants import Artifact, Variant


@pytest.mark.qmodels_processor("gpu")
@pytest.mark.benchmark(group="cuda", timer=REPLAY.timer)
@pytest.mark.parametrize("batch_size", times.BATCH_SIZES, ids=lambda size: f"b{size}")
def bench_cuda(
    qmodels_session: BenchSession,
    qmodels_variant: Variant,
    qmodels_artifact: Artifact,
    qmodels_externally_timed: Callable[[Sequence[float]], None],
    qmodels_record: Record,
    batch_size: int,
) -> None:
    """latency_ms, images_per_second, gpu_ratio, peak_share, gpu_peak_bytes."""
    images = qmodels_artifact.example(batch_size).to("cuda")
    models = {qmodels_variant.name: qmodels_artifact.load()}
    models.setdefault(times.GPU_REFERENCE, qmodels_session.build(times.GPU_REFERENCE).load())
    seconds = times.seconds_in_turn(models, images)
    gpu_times = times.GpuTimes(
        seconds[qmodels_variant.name],
        batch_size,
        qmodels_session.macs,
        times.peak(times.card(), times.MULTIPLIED[qmodels_variant.arithmetic]),
    )
    qmodels_externally_timed(gpu_times.seconds.tolist())
    memory = times.peak_bytes(qmodels_artifact.load, images)
    qmodels_record(
        times.metrics(gpu_times, seconds[times.GPU_REFERENCE], memory),
        batch_size=batch_size,
        threads=0,
    )
