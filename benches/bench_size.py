"""Bytes that would be deployed. Timed: loading them, to the end of the first forward."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from qmodels.gate import Details
from qmodels.harness.records import Record
from qmodels.harness.session import BenchSession
from qmodels.measure import timing
from qmodels.measure.metrics import SIZE
from qmodels.variants import Artifact


@pytest.mark.benchmark(group="size")
def bench_size(
    benchmark: BenchmarkFixture,
    qmodels_session: BenchSession,
    qmodels_artifact: Artifact,
    qmodels_record: Record,
) -> None:
    """size_bytes."""
    threads = qmodels_session.settings.threads

    def load_and_run() -> Tensor:
        return qmodels_artifact.load()(qmodels_artifact.example(1))

    with timing.timing_environment(threads):
        benchmark.pedantic(load_and_run, rounds=3)  # type: ignore[no-untyped-call]
    qmodels_record(
        {SIZE.name: SIZE.of(qmodels_artifact.size_bytes)},
        batch_size=1,
        threads=threads,
        details=Details(files=qmodels_artifact.files),
    )
