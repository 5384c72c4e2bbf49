"""Latency, throughput and memory on an NVIDIA GPU, in turn with float16 there.

Timed: every visit to the variant, as the mean of its forwards, by events in the GPU's stream.
"""

from typing import Any

import pytest

from qmodels import machine
from qmodels.measure import cuda
from qmodels.measure.replay import Replay
from qmodels.resnet import random_images

REPLAY = Replay()


@pytest.mark.processor("gpu")
@pytest.mark.benchmark(group="cuda", timer=REPLAY.timer)
@pytest.mark.parametrize("batch_size", cuda.BATCH_SIZES, ids=lambda size: f"b{size}")
def bench_cuda(
    benchmark: Any,
    variant: Any,
    artifact: Any,
    build: Any,
    macs: Any,
    record: Any,
    batch_size: int,
) -> None:
    """latency_ms, images_per_second, gpu_ratio, peak_share, gpu_peak_bytes."""
    images = random_images(batch_size).to("cuda")
    models = {variant.name: artifact.load()}
    models.setdefault(cuda.REFERENCE, build(cuda.REFERENCE).load())
    seconds = cuda.seconds_in_turn(models, images)
    speed = cuda.Speed(
        seconds[variant.name],
        batch_size,
        macs,
        cuda.peak(cuda.card(), cuda.MULTIPLIED[variant.arithmetic]),
    )
    REPLAY.play(speed.seconds)
    benchmark.pedantic(REPLAY.forward, rounds=len(speed.seconds))
    memory = cuda.peak_bytes(artifact.load, images)
    record(
        cuda.metrics(speed, seconds[cuda.REFERENCE], memory),
        batch_size=batch_size,
        threads=0,
        gpu=machine.gpu_name(),
    )
