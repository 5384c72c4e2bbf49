"""Latency on the CPU: every round of the variant between two of fp32."""

from typing import Any

import pytest

from qmodels import machine
from qmodels.measure import latency
from qmodels.resnet import random_images


@pytest.mark.benchmark(group="latency")
@pytest.mark.parametrize("batch_size", [1, 8], ids=["b1", "b8"])
def bench_latency(
    benchmark: Any,
    variant: Any,
    artifact: Any,
    fp32: Any,
    settings: Any,
    record: Any,
    batch_size: int,
) -> None:
    """latency_ms, latency_ratio."""
    images = random_images(batch_size)
    reference: list[float] = []

    def time_reference() -> None:
        reference.append(latency.timed(fp32, images))

    with latency.quiet(settings.threads):
        forward = artifact.load()
        rounds = latency.plan_rounds(lambda: (fp32(images), forward(images)))
        benchmark.pedantic(forward, args=(images,), setup=time_reference, rounds=rounds)
        time_reference()
    if benchmark.disabled:
        pytest.skip("latency is not measured under --benchmark-disable")
    record(
        latency.metrics(benchmark.stats.stats.data, reference),
        batch_size=batch_size,
        threads=settings.threads,
        int8_saturates=machine.int8_saturates(machine.quantized_engine()),
    )
