"""Run records as tables for people."""

from qmodels.report.table import Cell, markdown, summarize

__all__ = ["Cell", "markdown", "summarize"]
