"""The detection curve: how often each rule calls a slowdown, by its size."""

from collections.abc import Sequence
from pathlib import Path

from docs.study.evaluate import ANY, WHOLE_RUN, Rate
from qmodels.report import figure


def draw(rates: Sequence[Rate], path: Path) -> None:
    """Draw the curve of each rule as SVG.

    Raises:
        Unavailable: matplotlib is not installed.
        UserError: the file can't be written.
    """
    with figure.axes(path, size=(7, 4.2)) as axes:
        for rule in dict.fromkeys(rate.rule for rate in rates):
            points = [
                rate
                for rate in rates
                if rate.rule == rule and rate.subject == (ANY if rate.planted else WHOLE_RUN)
            ]
            axes.plot(
                [rate.slowdown if rate.planted else 0.0 for rate in points],
                [rate.percent for rate in points],
                marker="o",
                label=rule,
            )
        axes.set_xlabel("slowdown (%)")
        axes.set_ylabel("called slower (%)")
        axes.set_ylim(-3, 103)
        axes.grid(alpha=0.3)
        axes.legend()
        axes.set_title("unchanged code at 0 is a whole run; elsewhere one variant")
