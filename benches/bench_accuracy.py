"""Accuracy on the test split, against the labels and against fp32. Timed: the whole evaluation."""

from typing import Any

import pytest

from qmodels.evaluation import EVALUATION_BATCH, not_finite, ranks
from qmodels.measure import accuracy, fidelity


@pytest.mark.benchmark(group="accuracy")
def bench_accuracy(
    benchmark: Any,
    variant: Any,
    artifact: Any,
    reference: Any,
    dataset: Any,
    evaluated: Any,
    settled: Any,
    record: Any,
) -> None:
    """top1, top5_error, top1_drop; against fp32 without labels, sqnr_db and top1_agreement."""
    forward = artifact.load()
    logits = benchmark.pedantic(
        accuracy.evaluate, args=(forward, dataset, evaluated.images, settled)
    )
    broken = not_finite(logits)
    if broken:
        pytest.fail(f"{variant.name}: {broken}", pytrace=False)
    seen = evaluated.first(len(logits))
    known = reference(variant, logits)
    found = accuracy.metrics(logits, known, seen)
    if variant.name != "fp32":
        found |= fidelity.metrics(logits, known)
    speed = {} if benchmark.disabled else {"images_per_second": len(seen) / benchmark.stats["mean"]}
    record(
        found,
        batch_size=EVALUATION_BATCH,
        threads="all",
        images=len(seen),
        ranks=(seen, ranks(logits, seen.labels)),
        **speed,
    )
