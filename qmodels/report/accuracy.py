"""What a run measures accuracy by, and the words for it."""

from dataclasses import dataclass

from qmodels.gate import Run


@dataclass(frozen=True)
class Accuracy:
    """The metric of accuracy that the variants of a run are compared by.

    Attributes:
        metric: its name.
        drop: the metric of how much less it is than that of fp32.
        label: as text calls it.
        heading: of its column.
        meaning: of that column.
        digits: behind the point.
        unit: of the drop.
        margin: the unit of what may be lost.
    """

    metric: str
    drop: str
    label: str
    heading: str
    meaning: str
    digits: int
    unit: str
    margin: str


TOP1 = Accuracy(
    metric="top1",
    drop="top1_drop",
    label="top-1",
    heading="top-1 %",
    meaning="share of the test images whose most likely class is right",
    digits=2,
    unit="points",
    margin="points of top-1",
)
SCORE = Accuracy(
    metric="score",
    drop="score_drop",
    label="score",
    heading="score",
    meaning="mean of the network's own score over the test images",
    digits=4,
    unit="%",
    margin="% of the score",
)


def accuracy_of(run: Run) -> Accuracy:
    """What a run measures accuracy by: the score of its network where it has one, else top-1."""
    is_scored = any(SCORE.metric in entry.metrics for entry in run.entries.values())
    return SCORE if is_scored else TOP1
