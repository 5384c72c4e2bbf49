"""The detection curve: how often each rule calls a slowdown, by its size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docs.study.evaluate import ANY, WHOLE_RUN, Rate
from qmodels.system import files
from qmodels.system.errors import Unavailable


def draw(rates: Sequence[Rate], path: Path) -> None:
    """Draw the curve of each rule as SVG.

    Raises:
        Unavailable: matplotlib is not installed.
        UserError: the file can't be written.
    """
    with axes_of(path) as axes:
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


@contextmanager
def axes_of(path: Path) -> Iterator[Any]:
    """The axes of a figure, which is written to a file at the end."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise Unavailable(
            "matplotlib is not installed, so no picture was drawn: pip install matplotlib"
        ) from None
    mpl.use("svg")
    from matplotlib import pyplot

    # Without the salt and without a date the names in the file are the same each time.
    with mpl.rc_context({"svg.hashsalt": "qmodels", "font.size": 9}):
        figure, drawn = pyplot.subplots(figsize=(7, 4.2))
        yield drawn
        with files.atomic_write(path) as scratch:
            figure.savefig(scratch, format="svg", bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)
