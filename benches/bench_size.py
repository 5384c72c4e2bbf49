"""Bytes that would be deployed. Timed: loading them, to the end of the first forward."""

from typing import Any

import pytest
import torch

from qmodels.measure import stopwatch
from qmodels.metric import measured
from qmodels.resnet import random_images


@pytest.mark.benchmark(group="size")
def bench_size(benchmark: Any, artifact: Any, settings: Any, record: Any) -> None:
    """size_bytes."""

    def load_and_run() -> torch.Tensor:
        return artifact.load()(random_images(1))

    with stopwatch.quiet(settings.threads):
        benchmark.pedantic(load_and_run, rounds=3)
    record(
        {"size_bytes": measured("size_bytes", artifact.size_bytes)},
        batch_size=1,
        threads=settings.threads,
    )
