"""Accuracy of a variant, and how close it stays to fp32 on the same images."""

from qmodels.measure.metric import Definition, Metric
from qmodels.measure.metrics import (
    SCORE,
    SCORE_DROP,
    SQNR,
    TOP1,
    TOP1_AGREEMENT,
    TOP1_DROP,
    TOP5_ERROR,
)
from qmodels.measure.paired import LEVEL, mean_interval
from qmodels.network.evaluation import Evaluation, Predictions, accuracy, sqnr_db
from qmodels.system.errors import UserError


def metrics(evaluated: Evaluation, reference: Evaluation) -> dict[str, Metric]:
    """Accuracy of a variant, and its loss against fp32.

    Of a classifier these are top-1 accuracy, top-5 error, and the drop of top-1; of a network with
    a score its mean, and the drop in percent of fp32's.

    Args:
        evaluated: of the variant.
        reference: of fp32 for the same images.

    Raises:
        UserError: fp32's mean score is 0.
    """
    if isinstance(evaluated, Predictions):
        top1, top5_error = accuracy(evaluated.logits, evaluated.labels)
        return {
            TOP1.name: TOP1.of(top1),
            TOP5_ERROR.name: TOP5_ERROR.of(top5_error),
            TOP1_DROP.name: _drop(TOP1_DROP, evaluated, reference, 100.0),
        }
    mean = float(reference.scores.mean())
    if mean == 0:
        raise UserError("the mean score of fp32 is 0, so no drop is a part of it: shift the score")
    return {
        SCORE.name: SCORE.of(float(evaluated.scores.mean())),
        SCORE_DROP.name: _drop(SCORE_DROP, evaluated, reference, 100 / abs(mean)),
    }


def _drop(
    metric: Definition, evaluated: Evaluation, reference: Evaluation, factor: float
) -> Metric:
    losses = (reference.scores - evaluated.scores).double().numpy()
    low, high = mean_interval(losses)
    ci = (factor * low, factor * high)
    return metric.of(factor * float(losses.mean()), ci, ci_level=LEVEL)


def fidelity(evaluated: Evaluation, reference: Evaluation) -> dict[str, Metric]:
    """SQNR of the outputs; of a classifier how often the first prediction is the same.

    Neither needs labels.
    """
    metrics = {SQNR.name: SQNR.of(sqnr_db(evaluated.outputs, reference.outputs))}
    if not isinstance(evaluated, Predictions):
        return metrics
    same = (evaluated.outputs.argmax(1) == reference.outputs.argmax(1)).double().mean()
    return metrics | {TOP1_AGREEMENT.name: TOP1_AGREEMENT.of(100 * float(same))}
