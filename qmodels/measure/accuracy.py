"""Accuracy of a variant, and how close it stays to fp32 on the same images."""

from qmodels.measure.metric import Metric, make_metric
from qmodels.measure.paired import LEVEL, mean_interval
from qmodels.network.evaluation import Evaluation, Predictions, accuracy, sqnr_db
from qmodels.system.errors import UserError


def metrics(evaluated: Evaluation, reference: Evaluation) -> dict[str, Metric]:
    """What a variant gets right, and how much less that is than fp32 does.

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
        shown = {
            "top1": make_metric("top1", top1),
            "top5_error": make_metric("top5_error", top5_error),
        }
        return shown | drop("top1_drop", evaluated, reference, 100.0)
    mean = float(reference.scores.mean())
    if mean == 0:
        raise UserError("the mean score of fp32 is 0, so no drop is a part of it: shift the score")
    score = make_metric("score", float(evaluated.scores.mean()))
    return {"score": score} | drop("score_drop", evaluated, reference, 100 / abs(mean))


def drop(
    name: str, evaluated: Evaluation, reference: Evaluation, factor: float
) -> dict[str, Metric]:
    """How much lower the mean of an evaluation is, times a factor, with its interval."""
    losses = (reference.scores - evaluated.scores).double().numpy()
    low, high = mean_interval(losses)
    ci = (factor * low, factor * high)
    return {name: make_metric(name, factor * float(losses.mean()), ci, ci_level=LEVEL)}


def fidelity(evaluated: Evaluation, reference: Evaluation) -> dict[str, Metric]:
    """SQNR of the outputs; of a classifier how often the first prediction is the same.

    Neither needs labels.

    Args:
        evaluated, reference: as for ``metrics``.
    """
    sqnr = make_metric("sqnr_db", sqnr_db(evaluated.outputs, reference.outputs))
    if not isinstance(evaluated, Predictions):
        return {"sqnr_db": sqnr}
    same = (evaluated.outputs.argmax(1) == reference.outputs.argmax(1)).double().mean()
    agreement = make_metric("top1_agreement", 100 * float(same))
    return {"sqnr_db": sqnr, "top1_agreement": agreement}
