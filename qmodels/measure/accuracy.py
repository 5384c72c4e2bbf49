"""Accuracy of a variant, and how close it stays to fp32 on the same images."""

import math

from torch import Tensor

from qmodels.measure.metric import Metric, make_metric
from qmodels.network.evaluation import accuracy, ranks, sqnr_db

Z95 = 1.959964


def metrics(logits: Tensor, reference: Tensor, labels: Tensor) -> dict[str, Metric]:
    """Top-1 accuracy, top-5 error, and the drop of top-1 against the reference.

    Args:
        logits: of the variant, (N, classes) float32.
        reference: of fp32 for the same images.
        labels: of these images, (N,) int64.
    """
    top1, top5_error = accuracy(logits, labels)
    drop, ci = paired_drop(logits, reference, labels)
    return {
        "top1": make_metric("top1", top1),
        "top5_error": make_metric("top5_error", top5_error),
        "top1_drop": make_metric("top1_drop", drop, ci, ci_level=0.95),
    }


def paired_drop(
    logits: Tensor, reference: Tensor, labels: Tensor
) -> tuple[float, tuple[float, float]]:
    """Points of top-1 lost against the reference, with a 95 % confidence interval.

    Only images on which the two disagree carry information. The interval is Wald's with half an
    image added to each cell of the table of outcomes, so that it has a width even if nothing
    differs. Source: Agresti and Min, "Simple improved confidence intervals for comparing matched
    proportions", 2005.
    """
    correct = ranks(logits, labels) == 0
    reference_correct = ranks(reference, labels) == 0
    lost = int((reference_correct & ~correct).sum())
    won = int((correct & ~reference_correct).sum())
    count = len(labels) + 2
    difference = (lost - won) / count
    variance = (lost + won + 1) / count - difference**2
    margin = Z95 * math.sqrt(variance / count)
    return 100 * (lost - won) / len(labels), (
        100 * (difference - margin),
        100 * (difference + margin),
    )


def fidelity(logits: Tensor, reference: Tensor) -> dict[str, Metric]:
    """SQNR of the logits, and how often the first prediction is the same: neither needs labels.

    Args:
        logits, reference: of the variant and of fp32 for the same images, (N, classes) float32.
    """
    same = (logits.argmax(1) == reference.argmax(1)).double().mean()
    return {
        "sqnr_db": make_metric("sqnr_db", sqnr_db(logits, reference)),
        "top1_agreement": make_metric("top1_agreement", 100 * float(same)),
    }
