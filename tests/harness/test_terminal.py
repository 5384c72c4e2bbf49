"""The line that moves in a terminal. Processes of their own: ten seconds."""

import re
import sys

from tests.harness.conftest import Repository

ESCAPE = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")  # of a terminal's colours and cursor


def run(repository: Repository, *arguments: str) -> tuple[str, int]:
    """What a run prints in a terminal of 100 columns, and its exit status."""
    repository.monkeypatch.setenv("PYTHONPATH", str(repository.folder))
    repository.monkeypatch.setenv("COLUMNS", "100")
    options = "-p short --qmodels-dataset=digits --qmodels-variants=fp32,planted -k size"
    command = (f"{sys.executable} -m pytest --pyargs qmodels.benches", options, *arguments)
    child = repository.pytester.spawn(" ".join(command), expect_timeout=60)
    printed = child.read().decode()
    return printed, child.wait()


def test_a_line_moves_instead_of_dots(stored: Repository) -> None:
    failing = (
        "def pytest_runtest_call(item):\n    assert item.name != 'bench_size[planted]', 'broken'\n"
    )
    (stored.folder / "own.py").write_text(failing)
    printed, _ = run(stored, "-p own")
    assert "\x1b[?25l" in printed, "the cursor is hidden while the line moves"
    lines = [line.strip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", printed))]
    moving = [line[2:] for line in lines if " of 2 · " in line]
    assert any(line.startswith("size 1 of 2 · loading fp32") for line in moving)
    assert any(line.startswith("size 2 of 2 · preparing planted · about 10 s") for line in moving)
    assert "bench_size[planted] failed" in lines
    assert re.search(r"^size: 2 ran, \d s", "\n".join(lines), re.MULTILINE)
    assert not [line for line in lines if re.match(r"bench_size\.py( |$)", line)]
    assert any(line.startswith("FAILED bench_size.py") for line in lines)
    assert any("1 failed, 1 passed" in line for line in lines)

    again, _ = run(stored)
    assert re.search(r"size 1 of 2 · loading fp32 · about \d+ s left\b(?! of)", again)
    # A run without pytest's cache does not fail.
    uncached, status = run(stored, "-pno:cacheprovider")
    assert status == 0, uncached


def test_a_log_has_a_line_for_each_file(stored: Repository) -> None:
    for printed in (stored.run("-k", "size").printed, run(stored, "-v")[0]):
        assert "\x1b[?25l" not in printed
        assert "bench_size.py" in printed
        assert " of 2 · " not in printed
