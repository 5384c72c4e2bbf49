"""Accuracy on the test split, against the labels and against fp32. Timed: the whole evaluation."""

from typing import Any

import pytest

from qmodels.evaluation import EVALUATION_BATCH, predict
from qmodels.measure import accuracy


@pytest.mark.benchmark(group="accuracy")
def bench_accuracy(
    benchmark: Any,
    variant: Any,
    artifact: Any,
    fp32: Any,
    fp32_logits: Any,
    dataset: Any,
    evaluated: Any,
    record: Any,
) -> None:
    """top1, top5_error, top1_drop."""
    forward = artifact.load()
    logits = benchmark.pedantic(predict, args=(forward, dataset, evaluated.images))
    if variant.name == "fp32":
        fp32_logits["logits"] = logits
    elif "logits" not in fp32_logits:
        fp32_logits["logits"] = predict(fp32, dataset, evaluated.images)
    images = len(evaluated)
    speed = {} if benchmark.disabled else {"images_per_second": images / benchmark.stats["mean"]}
    record(
        accuracy.metrics(logits, fp32_logits["logits"], evaluated),
        batch_size=EVALUATION_BATCH,
        threads="all",
        images=images,
        **speed,
    )
