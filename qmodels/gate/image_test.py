"""The test of what accuracy lost since another run, image by image."""

from dataclasses import dataclass

from qmodels.gate import ranks, scores
from qmodels.gate.entry import Entry
from qmodels.gate.finding import Verdict
from qmodels.gate.ranks import Flips, Ranks
from qmodels.gate.scores import Differences, Scores
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metrics import SCORE


@dataclass(frozen=True)
class ImageTest:
    """The change of a metric on the images that both runs evaluated."""

    change: Flips | Differences
    alpha: float

    def verdict(self, tolerance: float) -> Verdict:
        """Regressed where the loss is the tolerance or more, and its p-value at most ``alpha``.

        Args:
            tolerance: in points of top-1, or in the unit of the score.
        """
        gain = self.change.reverse
        if self.change.loss >= tolerance and self.change.p_value <= self.alpha:
            return "regressed"
        return "improved" if gain.loss >= tolerance and gain.p_value <= self.alpha else "ok"


def image_test(metric: str, now: Entry, before: Entry, tolerances: Tolerances) -> ImageTest | None:
    """The test of a metric; None where no image was evaluated by both."""
    change: Flips | Differences | None = None
    sides = now.by_image, before.by_image
    match sides:
        case Scores() as scored, Scores() as scored_before if metric == SCORE.name:
            change = scores.differences(scored, scored_before)
        case Ranks() as ranked, Ranks() as ranked_before if metric in ranks.WRONG_FROM:
            change = ranks.flips(ranked, ranked_before, metric)
    if change is None or not change.images:
        return None
    return ImageTest(change, tolerances.level(metric, now.variant, now.arithmetic))
