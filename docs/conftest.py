"""Say at the end of `pytest docs` what was checked on the pages, and how."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

# Text of each check in the summary: the marks of docs/pages.py, inline code, and what failed.
CHECKS = {
    "run": "blocks run",
    "from": "compared with the output of a command",
    "file": "written to files",
    "options": "checked for options",
    "output": "output",
    "inline": "names in inline code",
    "failed": "failed",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many blocks were checked in which way."""
    ended = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    properties = [report.user_properties for report in ended if report.when == "call"]
    terminalreporter.write_line(f"pages: {summary(counts(properties))}")


def counts(properties: Iterable[Sequence[tuple[str, object]]]) -> Counter[object]:
    """How often each check was made, from the properties of all tests."""
    return Counter(check for test in properties for name, check in test if name == "checked")


def summary(counts: Counter[object]) -> str:
    """The counts in a line."""
    parts = [f"{counts[check]} {text}" for check, text in CHECKS.items() if counts[check]]
    return ", ".join(parts) or "nothing was checked"
