import re
from pathlib import Path

from tests.harness.planting import ESCAPE, VARIANTS, Run

SIZES = ("benches/bench_size.py", VARIANTS)


def test_a_line_moves_instead_of_dots(run: Run, baseline: Path) -> None:
    failing = (
        "def pytest_runtest_call(item):\n    assert item.name != 'bench_size[planted]', 'broken'\n"
    )
    printed = run(*SIZES, terminal=True, plugin=failing).stdout
    assert "\x1b[?25l" in printed, "the cursor is hidden while the line moves"
    lines = [line.strip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", printed))]
    moving = [line[2:] for line in lines if " of 2 · " in line]
    assert any(line.startswith("size 1 of 2 · loading fp32") for line in moving)
    assert any(line.startswith("size 2 of 2 · preparing planted · about 10 s") for line in moving)
    assert "bench_size[planted] failed" in lines
    assert re.search(r"^size: 2 ran, \d s", "\n".join(lines), re.MULTILINE)
    assert not [line for line in lines if re.match(r"benches/bench_size\.py( |$)", line)]
    assert any(line.startswith("FAILED benches/bench_size.py") for line in lines)
    assert any("1 failed, 1 passed" in line for line in lines)

    again = run(*SIZES, terminal=True).stdout
    assert re.search(r"size 1 of 2 · loading fp32 · about \d+ s left\b(?! of)", again)
    # A run without pytest's cache does not fail.
    uncached = run(*SIZES, "-pno:cacheprovider", terminal=True)
    assert uncached.returncode == 0, uncached.stdout


def test_a_log_has_a_line_for_each_file(run: Run, baseline: Path) -> None:
    for printed in (run(*SIZES).stdout, run(*SIZES, "-v", terminal=True).stdout):
        assert "\x1b[?25l" not in printed
        assert "benches/bench_size.py" in printed
        assert " of 2 · " not in printed
