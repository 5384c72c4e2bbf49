"""Memory of one forward at batch size 1, as the profiler sees it and as the system does.

Timed: the profiled forward's plain one. The table of the study is printed with -s.
"""

from dataclasses import asdict
from typing import Any

import pytest

from qmodels.measure import memory, stopwatch
from qmodels.resnet import random_images


@pytest.mark.processor("cpu")
@pytest.mark.benchmark(group="memory")
def bench_memory(benchmark: Any, variant: Any, artifact: Any, settings: Any, record: Any) -> None:
    """allocated_bytes, peak_bytes, operator_calls, memory_bytes, rss_bytes; that the kernels ran.

    Of a runtime that allocates by itself only what its process holds is known.
    """
    images = random_images(1)
    if not variant.format.torch_allocates:
        benchmark.pedantic(artifact.load(), args=(images,), rounds=5)
        held = memory.held(artifact, settings.threads)
        record(held, batch_size=1, threads=settings.threads)
        return
    with stopwatch.quiet(settings.threads):
        forward = artifact.load()
        profiled = memory.profile(forward, images)
        benchmark.pedantic(forward, args=(images,), rounds=5)
    print(f"\n{variant.name}\n{memory.table(profiled)}")
    ran = {row.name for row in profiled.rows}
    absent = [kernel for kernel in variant.kernels if kernel not in ran]
    if absent:
        pytest.fail(
            f"{variant.name} did not run {', '.join(absent)}: it may have fallen back to float",
            pytrace=False,
        )
    record(
        {**profiled.metrics(), **memory.held(artifact, settings.threads)},
        batch_size=1,
        threads=settings.threads,
        profile=[asdict(row) for row in profiled.rows[: memory.TOP_ROWS]],
    )
