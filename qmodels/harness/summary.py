"""The end of a run: the tables and the verdicts."""

import sys
from collections.abc import Sequence

import pytest

from qmodels import gate, report
from qmodels.harness.results import Results
from qmodels.harness.settings import Settings


def write(terminal: pytest.TerminalReporter, settings: Settings, results: Results) -> None:
    """Print the tables and the verdict; the last thing on the screen is the recommendation."""
    if not (results.measured or results.notes):
        return
    terminal.section(f"qmodels: {settings.network.name}")
    run = results.run
    if run.entries or run.failures:
        overview = report.overview_text(
            run, results.verdicts, run.failures, color=terminal.hasmarkup
        )
        terminal.write_line(_printable(overview))
        if terminal.verbosity > 0:
            stored = settings.baseline.entries if settings.baseline else {}
            tables = f"{report.summary_table(run, stored)}\n\n{report.speed_table(run)}".rstrip()
            terminal.write_line(_printable(f"\nAll metrics, changes in parentheses:\n{tables}"))
        terminal.write_line("")
    if results.verdicts:
        terminal.write_line(f"gate: {report.count_findings(results.verdicts)}")
    # Several benches may have the same note.
    lines = (
        *report.oddities(run),
        *_remarks(results.of_measured, settings),
        *dict.fromkeys(results.notes),
    )
    if lines:
        terminal.write_line(_printable(report.wrap(lines)))
    if run.entries or run.skipped:
        terminal.write_line(_printable(f"\n{report.recommend(run, settings.max_drop)}"))


def _printable(text: str) -> str:
    """The text with question marks for what the output can't show.

    pytest would write escapes instead, of line breaks too.
    """
    encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _remarks(findings: Sequence[gate.Finding], settings: Settings) -> list[str]:
    """Lines of findings that failed no bench and are not ok; of new and missing ones the first."""
    shown = ["improved"]
    if not settings.require_baseline:  # else they failed their benches
        shown.append("undecided")
    lines = gate.lines(finding for finding in findings if finding.verdict in shown)
    for verdict in ("new", "missing"):
        group = [finding for finding in findings if finding.verdict == verdict]
        if group and not (verdict == "missing" and settings.require_baseline):
            lines.append(f"{len(group)} {verdict}, such as {gate.lines(group)[0]}")
    return lines
