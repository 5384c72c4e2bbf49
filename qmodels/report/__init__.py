"""Run records and baselines as text for people."""

from qmodels.report.changes import counted, findings, stored
from qmodels.report.table import Cell, markdown, summarize

__all__ = ["Cell", "counted", "findings", "markdown", "stored", "summarize"]
