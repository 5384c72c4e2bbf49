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
    yield  # pytest-benchmark's tables first: the last thing on the screen is the verdict
    settings = config.stash.get(SETTINGS, None)
    results = config.stash[RESULTS]
    if settings is None or not (results.measured or results.notes):
        return
    network = f"{settings.dataset}, {settings.architecture} width {settings.width}"
    compared = "base" if settings.base else "baseline"
    terminalreporter.section(f"qmodels: {network} (change against the {compared})")
    stored = settings.baseline.entries if settings.baseline else {}
    if results.measured:
        run = gate.Run.from_entries(results.entries)
        terminalreporter.write_line(report.summary_table(report.summarize(run, stored)))
        speeds = report.speed_table(run)
        if speeds:
            terminalreporter.write_line(f"\n{speeds}")
    if results.verdicts:
        terminalreporter.write_line(f"gate: {report.count_findings(results.verdicts)}")
    measured = [finding for findings in results.findings.values() for finding in findings]
    for line in remarks(measured, settings):
        terminalreporter.write_line(line)
    for note in dict.fromkeys(results.notes):  # several benches may have the same
        terminalreporter.write_line(note)


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
