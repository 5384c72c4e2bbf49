"""Runs and baselines as text for people."""

from qmodels.report.advice import choice_text, recommend, wrap
from qmodels.report.changes import (
    count_findings,
    describe_accepted,
    describe_baseline,
    failure_table,
)
from qmodels.report.choice import choose
from qmodels.report.columns import explain_columns
from qmodels.report.overview import overview_markdown, overview_text
from qmodels.report.speed import oddities, speed_table
from qmodels.report.study import study_report
from qmodels.report.table import Cell, escape, markdown, summary_table

__all__ = [
    "Cell",
    "choice_text",
    "choose",
    "count_findings",
    "describe_accepted",
    "describe_baseline",
    "escape",
    "explain_columns",
    "failure_table",
    "markdown",
    "oddities",
    "overview_markdown",
    "overview_text",
    "recommend",
    "speed_table",
    "study_report",
    "summary_table",
    "wrap",
]
