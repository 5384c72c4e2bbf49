"""`tox run -e docs`: every code block of the pages is run, or checked as its mark says."""

import ast
from pathlib import Path

import pytest

from docs import commands, pages
from docs.pages import Block, Result


class Copies:
    """A fresh copy of the repository for each page; a command runs once in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copies: dict[str, Path] = {}
        self.results: dict[tuple[str, str], Result] = {}

    def of(self, page: str) -> Path:
        """The copy for a page."""
        if page not in self.copies:
            self.copies[page] = self.folder / str(len(self.copies))
            pages.copy_repository(self.copies[page])
        return self.copies[page]

    def run(self, page: str, command: str) -> Result:
        """What a command did, with a cache of artifacts that the pages share."""
        if (page, command) not in self.results:
            result = pages.run(command, self.of(page), self.folder / "cache")
            self.results[page, command] = result
        return self.results[page, command]


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(tmp_path_factory.mktemp("docs"))


# Blocks of a page run in its order, in one process: `pytest docs -n 2 --dist loadgroup`.
GROUPED = [
    pytest.param(block, id=str(block), marks=pytest.mark.xdist_group(block.page))
    for page in pages.pages()
    for block in pages.blocks(page)
]


@pytest.mark.parametrize("block", GROUPED)
def test_block(block: Block, copies: Copies) -> None:
    if block.mark == "options":
        assert commands.problems(block) == []
    elif block.mark == "file":
        ast.parse(block.text)
        path = copies.of(block.page) / block.argument
        path.write_text(block.text + "\n", encoding="utf-8")
    elif block.mark == "run":
        ended = copies.run(block.page, block.text)
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    elif block.mark == "from":
        ended = copies.run(block.page, block.argument)
        new = pages.part(ended.stdout, block.text.splitlines()[0])
        assert new == block.text, f"write it again: python -m docs.pages\n{ended.stderr[-3000:]}"
    else:
        assert block.mark == "output", f"{block}: mark it as docs/pages.py says"


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
    found = [(block.mark, block.text.splitlines()[0]) for block in pages.blocks(page)]
    assert found == [("unmarked", "1"), ("run", "ls"), ("output", "x"), ("from", "| a |")]
