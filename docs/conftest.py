"""Say at the end of `pytest docs` how the code blocks of the pages were checked."""

from collections import Counter

import pytest

from docs import pages


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many blocks each mark has."""
    blocks = [block for page in pages.pages() for block in pages.blocks(page)]
    counts = Counter(block.mark for block in blocks)
    terminalreporter.write_line(
        f"{len(blocks)} blocks: {counts['run']} run, {counts['from']} compared with the output of "
        f"a command, {counts['file']} written to files, {counts['options']} checked for options, "
        f"{counts['output']} are output"
    )
