"""Accuracy on the test split, against the labels and against fp32. Timed: what a run evaluates."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qmodels.harness.records import Record
from qmodels.harness.session import BenchSession
from qmodels.measure import accuracy
from qmodels.network.evaluation import Evaluation
from qmodels.system.defaults import REFERENCE
from qmodels.variants import Artifact, Variant


@pytest.mark.benchmark(group="accuracy")
def bench_accuracy(
    benchmark: BenchmarkFixture,
    qmodels_session: BenchSession,
    qmodels_variant: Variant,
    qmodels_artifact: Artifact,
    qmodels_record: Record,
) -> None:
    """top1, top5_error, top1_drop; against fp32 without labels, sqnr_db and top1_agreement.

    Of a network with a score instead: score, score_drop, sqnr_db.
    """
    session = qmodels_session
    evaluated: Evaluation = benchmark.pedantic(  # type: ignore[no-untyped-call]
        session.evaluate, args=(qmodels_artifact.load(), qmodels_artifact)
    )
    if evaluated.broken:
        pytest.fail(f"{qmodels_variant.name}: {evaluated.broken}", pytrace=False)
    reference = session.reference(qmodels_variant, evaluated)
    metrics = accuracy.metrics(evaluated, reference)
    if qmodels_variant.name != REFERENCE:
        metrics |= accuracy.fidelity(evaluated, reference)
    qmodels_record(
        metrics,
        batch_size=session.batch_size,
        threads="all",
        images=len(session.evaluated),
        evaluated=evaluated,
    )
