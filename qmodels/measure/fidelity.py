"""How close a variant stays to the float model, without labels."""

from torch import Tensor

from qmodels.measure.metric import Metric, make_metric
from qmodels.network.evaluation import sqnr_db


def metrics(logits: Tensor, reference: Tensor) -> dict[str, Metric]:
    """SQNR of the logits, and how often the first prediction is the same.

    Args:
        logits, reference: of the variant and of fp32 for the same images, (N, classes) float32.
    """
    same = (logits.argmax(1) == reference.argmax(1)).double().mean()
    return {
        "sqnr_db": make_metric("sqnr_db", sqnr_db(logits, reference)),
        "top1_agreement": make_metric("top1_agreement", 100 * float(same)),
    }
