"""Run records and baselines as text for people."""

from qmodels.report.changes import accepted, counted, findings, status, stored
from qmodels.report.speed import speed_table
from qmodels.report.table import Cell, aligned, markdown, summarize

__all__ = [
    "Cell",
    "accepted",
    "aligned",
    "counted",
    "findings",
    "markdown",
    "speed_table",
    "status",
    "stored",
    "summarize",
]
