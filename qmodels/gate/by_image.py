"""What accuracy lost since another run, image by image."""

from qmodels.gate import ranks, scores
from qmodels.gate.entry import Entry
from qmodels.gate.ranks import Flips, Ranks
from qmodels.gate.scores import Differences, Scores
from qmodels.measure.metrics import SCORE

Change = Flips | Differences


def change(metric: str, now: Entry, before: Entry) -> Change | None:
    """What a metric lost; None where that is not known of any image."""
    lost: Change | None = None
    sides = now.by_image, before.by_image
    match sides:
        case Scores() as scored, Scores() as scored_before if metric == SCORE.name:
            lost = scores.differences(scored, scored_before)
        case Ranks() as ranked, Ranks() as ranked_before if metric in ranks.WRONG_FROM:
            lost = ranks.flips(ranked, ranked_before, metric)
    return lost if lost and lost.images else None
