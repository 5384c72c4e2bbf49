"""Accuracy on the test split, against the labels and against fp32. Timed: the whole evaluation."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qmodels.harness.records import Record
from qmodels.harness.session import BenchSession
from qmodels.measure import accuracy
from qmodels.network.evaluation import not_finite, ranks
from qmodels.variants import Artifact, Variant


@pytest.mark.benchmark(group="accuracy")
def bench_accuracy(
    benchmark: BenchmarkFixture,
    qmodels_session: BenchSession,
    qmodels_variant: Variant,
    qmodels_artifact: Artifact,
    qmodels_record: Record,
) -> None:
    """top1, top5_error, top1_drop; against fp32 without labels, sqnr_db and top1_agreement."""
    session = qmodels_session
    logits = benchmark.pedantic(  # type: ignore[no-untyped-call]
        session.predict, args=(qmodels_artifact.load(),)
    )
    broken = not_finite(logits)
    if broken:
        pytest.fail(f"{qmodels_variant.name}: {broken}", pytrace=False)
    reference = session.reference_logits(qmodels_variant, logits)
    labels = session.network.labels[session.evaluated]
    metrics = accuracy.metrics(logits, reference, labels)
    if qmodels_variant.name != "fp32":
        metrics |= accuracy.fidelity(logits, reference)
    qmodels_record(
        metrics,
        batch_size=session.batch_size,
        threads="all",
        images=len(labels),
        ranks=ranks(logits, labels),
    )
