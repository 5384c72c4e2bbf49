"""Draw SVG files with matplotlib; the same numbers give the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qmodels.system import packages, store
from qmodels.system.errors import Unavailable


@contextmanager
def axes(path: Path, *, size: tuple[float, float]) -> Iterator[Any]:
    """The axes of a figure, which is written to a file at the end.

    Args:
        size: width and height in inches.

    Raises:
        Unavailable: matplotlib is not installed.
        UserError: the file cannot be written.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise Unavailable(
            f"matplotlib is not installed, so no picture was drawn: {packages.install('report')}"
        ) from None
    mpl.use("svg")
    from matplotlib import pyplot

    # Without the salt and without a date the names in the file are the same each time.
    with mpl.rc_context({"svg.hashsalt": "qmodels", "font.size": 9}):
        figure, drawn = pyplot.subplots(figsize=size)
        yield drawn
        with store.atomic_write(path) as scratch:
            figure.savefig(scratch, format="svg", bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)
