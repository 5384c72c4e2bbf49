"""Memory of one forward at batch size 1, as the profiler sees it and as the system does.

Timed: the profiled forward's plain one. The table of the study is printed with -s.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qmodels.gate import Details
from qmodels.harness.records import Record
from qmodels.harness.session import BenchSession
from qmodels.measure import memory, operators, timing
from qmodels.variants import Artifact, Variant


@pytest.mark.qmodels_processor("cpu")
@pytest.mark.benchmark(group="memory")
def bench_memory(
    benchmark: BenchmarkFixture,
    qmodels_session: BenchSession,
    qmodels_variant: Variant,
    qmodels_artifact: Artifact,
    qmodels_record: Record,
) -> None:
    """allocated_bytes, peak_bytes, operator_calls, memory_bytes, rss_bytes; that the kernels ran.

    Of a runtime that allocates by itself only what its process holds is known.
    """
    threads, images = qmodels_session.settings.threads, qmodels_artifact.example(1)
    if not qmodels_variant.backend.torch_allocates:
        forward = qmodels_artifact.load()
        benchmark.pedantic(forward, args=(images,), rounds=5)  # type: ignore[no-untyped-call]
        held = memory.process_memory(qmodels_artifact, threads)
        qmodels_record(held, batch_size=1, threads=threads, unmeasured=memory.missing_metrics())
        return
    with timing.timing_environment(threads):
        forward = qmodels_artifact.load()
        profiled = memory.profile(forward, images)
        benchmark.pedantic(forward, args=(images,), rounds=5)  # type: ignore[no-untyped-call]
    print(f"\n{qmodels_variant.name}\n{operators.table(profiled.rows)}")
    ran = {row.name for row in profiled.rows}
    absent = qmodels_variant.absent_kernels(ran, qmodels_session.network.parts)
    if absent:
        pytest.fail(
            f"{qmodels_variant.name} did not run {', '.join(absent)}: it may have fallen back to "
            "float",
            pytrace=False,
        )
    qmodels_record(
        {**profiled.metrics(), **memory.process_memory(qmodels_artifact, threads)},
        batch_size=1,
        threads=threads,
        unmeasured=memory.missing_metrics(),
        details=Details(profile=tuple(profiled.rows[: operators.RECORDED_ROWS])),
    )
