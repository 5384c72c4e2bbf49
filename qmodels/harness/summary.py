"""The end of a run: the tables and the verdicts."""

from collections.abc import Iterator, Sequence

import pytest

from qmodels import gate, report
from qmodels.harness.options import SETTINGS
from qmodels.harness.results import RESULTS
from qmodels.harness.settings import Settings


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the tables and the verdict."""
    yield  # pytest-benchmark's tables first: the last thing on the screen is the recommendation
    settings = config.stash.get(SETTINGS, None)
    results = config.stash[RESULTS]
    if settings is None or not (results.measured or results.notes):
        return
    terminalreporter.section(f"qmodels: {settings.network}")
    run = results.run
    if run.entries or run.failures:
        overview = report.overview_text(
            run, results.verdicts, run.failures, color=terminalreporter.hasmarkup
        )
        terminalreporter.write_line(overview)
        if config.get_verbosity() > 0:
            stored = settings.baseline.entries if settings.baseline else {}
            terminalreporter.write_line(
                "\nAll metrics, changes in parentheses:\n"
                f"{report.summary_table(report.summarize(run, stored))}"
                f"\n\n{report.speed_table(run)}".rstrip()
            )
        terminalreporter.write_line("")
    if results.verdicts:
        terminalreporter.write_line(f"gate: {report.count_findings(results.verdicts)}")
    measured = [finding for findings in results.findings.values() for finding in findings]
    # Several benches may have the same note.
    lines = (*report.oddities(run), *remarks(measured, settings), *dict.fromkeys(results.notes))
    if lines:
        terminalreporter.write_line(report.wrap(lines))
    if run.entries or run.skipped:
        terminalreporter.write_line(f"\n{report.recommend(run, config.option.qmodels_max_drop)}")


def remarks(findings: Sequence[gate.Finding], settings: Settings) -> list[str]:
    """Lines of findings that failed no bench and are not ok; of new and missing ones the first."""
    shown = ["improved"]
    if not settings.require_baseline:  # else they failed their benches
        shown.append("undecided")
    lines = gate.lines(finding for finding in findings if finding.verdict in shown)
    for verdict, meaning in (("new", "are new"), ("missing", "have no baseline")):
        group = [finding for finding in findings if finding.verdict == verdict]
        if group and not (verdict == "missing" and settings.require_baseline):
            lines.append(f"{len(group)} metrics {meaning}, such as {gate.lines(group)[0]}")
    return lines
