"""The metric of accuracy of a run, and the words for it."""

from dataclasses import dataclass

from qmodels.gate import Run
from qmodels.measure import metrics
from qmodels.measure.metric import Definition


@dataclass(frozen=True)
class Accuracy:
    """The metric of accuracy that the variants of a run are compared by.

    Attributes:
        metric: the mean over the images.
        drop: how much less that is than fp32's.
        label: as text calls it.
        heading: of its column.
        margin: the unit of what may be lost.
    """

    metric: Definition
    drop: Definition
    label: str
    heading: str
    margin: str


BY_TOP1 = Accuracy(
    metric=metrics.TOP1,
    drop=metrics.TOP1_DROP,
    label="top-1",
    heading="top-1 %",
    margin="points of top-1",
)
_SCORE = Accuracy(
    metric=metrics.SCORE,
    drop=metrics.SCORE_DROP,
    label=metrics.SCORE.name,
    heading=metrics.SCORE.name,
    margin="% of the score",
)


def accuracy_of(run: Run) -> Accuracy:
    """The metric of accuracy of a run: the score of its network where it has one, else top-1."""
    is_scored = any(_SCORE.metric.name in entry.metrics for entry in run.entries.values())
    return _SCORE if is_scored else BY_TOP1
