"""Proof of kernels: how much really ran in int8, and whether it was computed right.

Timed: the forward that is compared with reference arithmetic.
"""

from collections import Counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qmodels.gate import Details
from qmodels.harness.records import Record
from qmodels.harness.session import BenchSession
from qmodels.measure import kernels, layers, timing
from qmodels.variants import Artifact, Variant


@pytest.mark.benchmark(group="kernels")
def bench_kernels(
    benchmark: BenchmarkFixture,
    qmodels_session: BenchSession,
    qmodels_variant: Variant,
    qmodels_artifact: Artifact,
    qmodels_record: Record,
) -> None:
    """int8_mac_fraction, runtime_sqnr_db; fails where a variant is not what it claims to be."""
    threads = qmodels_session.settings.threads
    images = qmodels_session.network.reference_images
    with timing.timing_environment(threads):
        forward = qmodels_artifact.load()
        ran = qmodels_variant.backend.kernels(
            forward, qmodels_artifact, qmodels_artifact.example(1)
        )
        logits = benchmark.pedantic(forward, args=(images,))  # type: ignore[no-untyped-call]
        report = kernels.report(
            ran,
            qmodels_session.macs,
            logits,
            qmodels_artifact.reference_logits(),
            qmodels_session.fp32(images),
        )
    is_packaged = qmodels_session.network.call.is_packaged
    failure = kernels.check(qmodels_variant, report, claimed=is_packaged)
    if failure:
        pytest.fail(failure, pytrace=False)
    noise = layers.noise(qmodels_artifact, qmodels_session.model, images)
    qmodels_record(
        report.metrics(),
        batch_size=1,
        threads=threads,
        details=Details(
            kernels=Counter(kernel.implementation for kernel in ran),
            layers=tuple(noise),
        ),
    )
