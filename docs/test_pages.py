"""`tox run -e docs`: every code block of the pages is run, or checked as its mark says."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from docs import commands, conftest, inline, pages
from docs.pages import Block, Result
from qmodels import cli


class Copy:
    """A fresh copy of the repository, with an empty cache; a command runs once in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "copy"
        self.cache = folder / "cache"
        self.results: dict[str, Result] = {}
        pages.copy_repository(self.root)

    def run(self, command: str) -> Result:
        """What a command did."""
        if command not in self.results:
            self.results[command] = pages.run(command, self.root, self.cache)
        return self.results[command]


@pytest.mark.parametrize("page", pages.pages(), ids=pages.name)
def test_page(page: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    copy = Copy(tmp_path)
    lines = []
    for block in pages.blocks(page):
        # Its commands run in an empty folder and are timed, alone: in tests/wheel.
        if page == pages.OF_USERS and block.mark in ("run", "file"):
            continue
        text = problem(block, copy)
        record_property("checked", "failed" if text else block.mark)
        lines += [f"{block}: {text}"] if text else []
    for number, code in inline.texts(page):
        missing = inline.problems(code, copy.root)
        if missing is not None:
            record_property("checked", "failed" if missing else "inline")
            lines += [f"{pages.name(page)}:{number}: `{code}`: {line}" for line in missing]
    shutil.rmtree(tmp_path)
    assert lines == []


def problem(block: Block, copy: Copy) -> str:
    """Check a block as its mark says; returns what is wrong with it, or nothing."""
    if block.mark == "options":
        return "; ".join(commands.problems(block))
    if block.mark == "file":
        ast.parse(block.text)
        (copy.root / block.argument).write_text(block.text + "\n", encoding="utf-8")
        return ""
    if block.mark == "run":
        ended = copy.run(block.text)
        if ended.returncode == 0:
            return ""
        return f"exit status {ended.returncode}\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}"
    if block.mark == "from":
        ended = copy.run(block.argument)
        same = pages.part(ended.stdout, block.text.splitlines()[0]) == block.text
        return "" if same else f"write it again: python -m docs.pages\n{ended.stderr[-3000:]}"
    return "" if block.mark == "output" else "mark it as docs/pages.py says"


def test_the_example_is_what_the_page_makes() -> None:
    example = pages.ROOT / "examples" / "shapes"
    files = {
        block.argument: block.text + "\n"
        for block in pages.blocks(pages.OF_USERS)
        if block.mark == "file" and block.argument != "bright.py"
    }
    assert len(files) == 4
    assert files == {name: (example / name).read_text(encoding="utf-8") for name in files}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qmodels train --widht 64", ["no option --widht"]),
        ("qmodels tune", ["no such command: tune"]),
        ("tox run -e bench", ["tox has no environment 'bench'"]),
        ("tox run -e benches -- --qmodels-bse x > y", ["no option --qmodels-bse"]),
        ("torchrun --nproc-per-node 4 -m qmodels train --width 64", []),
        ("make all", ["there is no check for 'make'"]),
    ],
)
def test_what_does_not_exist_is_found(text: str, expected: list[str]) -> None:
    block = Block("README.md", range(1), "sh", text, "options")
    assert commands.problems(block) == expected


def test_a_block_without_a_mark_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n1\n```\n\n```sh\nls\n```\n\n<!-- check: output -->\n```text\nx\n```\n\n"
        "<!-- from: ls -->\n| a |\n|---|\n| b |\n"
    )
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    marks = [(block.mark, block.text.splitlines()[0]) for block in pages.blocks(page)]
    assert marks == [("unmarked", "1"), ("run", "ls"), ("output", "x"), ("from", "| a |")]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Block("page", range(1), "sh", "false", "run"), "exit status 1"),
        (Block("page", range(1), "", "| a |", "from", "echo '| b |'"), "write it again"),
        (Block("page", range(1), "python", "1", "unmarked"), "mark it"),
        (Block("page", range(1), "sh", "ls", "optoins"), "mark it"),
    ],
)
def test_a_problem_is_found(block: Block, expected: str, tmp_path: Path) -> None:
    assert problem(block, Copy(tmp_path)).startswith(expected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("fp32", None),
        (" ", None),
        ("docs/pages.py", []),
        ("pages.py", []),
        ("baselines/<machine class>/<network>.json", []),
        ("docs/no_such.py", ["no such file: docs/no_such.py"]),
        ("no_such/", ["no such file: no_such/"]),
        ("pytest docs/test_pages.py -s", []),
        ("pytest tests/no_such.py -s", ["no such file: tests/no_such.py"]),
        ("qmodels tune --steps 3", ["no such command: tune --steps 3"]),
        ("--max-drop POINTS", []),
        ("--widht 64", ["no command has the option --widht"]),
    ],
)
def test_inline_code_that_names_nothing_is_found(
    code: str, expected: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "commands", lambda: {"choose": "the help of each takes seconds"})
    assert inline.problems(code, pages.ROOT) == expected


def test_inline_code_of_a_table_and_of_a_paragraph_is_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\nRun `qmodels\nx` now.\n\n| a |\n|---|\n| `b` |\n\n```sh\n`no`\n```\n")
    assert list(inline.texts(page)) == [(3, "qmodels x"), (8, "b")]


def test_what_was_checked_is_counted_from_the_results() -> None:
    counts = conftest.counts([[("checked", "run"), ("checked", "failed")], [("checked", "run")]])
    assert conftest.summary(counts) == "2 blocks run, 1 failed"
    assert conftest.summary(conftest.counts([])) == "nothing was checked"
