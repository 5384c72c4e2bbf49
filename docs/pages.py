"""The code blocks of README.md, CONTRIBUTING.md and docs/, and how each is checked.

A block of ``sh`` without a mark is run, word for word, in a fresh copy of the repository. The page
about a repository of the reader's begins in an empty folder. A comment before a block is its mark:

``check: file PATH``
    It is written to that file of the copy, for the blocks behind it.
``check: options``
    It takes too long to run. Its commands and options must exist.
``check: output``
    It is output or a drawing, and there is nothing to run.
``from: COMMAND``
    The block or table is part of what the command prints.

``python -m docs.pages`` writes the output of those commands into the pages again.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from qmodels.system.repository import git

ROOT = Path(__file__).parents[1]
# The page whose commands take longest comes first, beside which the others run.
PAGES = ("docs/study/*.md", "README.md", "CONTRIBUTING.md", "docs/*.md")
MARK = re.compile(r"<!-- (check|from): (.+?) -->")
# Its commands run in an empty folder, as in a repository of a user's: `tox run -e wheel`.
OF_USERS = ROOT / "docs" / "your-network.md"
LIMIT_SECONDS = 300
# Whoever commits in a copy.
AUTHOR = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "somebody"), ("EMAIL", "somebody@example.org"))
}
Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Block:
    """A code block, or a table with a mark.

    Attributes:
        page: path of the page in the repository.
        lines: numbers of its lines, from 0, without the fences.
        language: of the fence; empty for a table.
        mark: ``run``, ``file``, ``options``, ``output``, ``from``; ``unmarked`` if there is no way
            to check it.
        argument: what the mark names: a path or a command.
    """

    page: str
    lines: range
    language: str
    text: str
    mark: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.lines.start + 1}"


def pages() -> list[Path]:
    """All pages."""
    return [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]


def name(page: Path) -> str:
    """The path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, and the tables that have a mark."""
    text = page.read_text(encoding="utf-8")
    lines = text.splitlines()
    tokens = [token for token in MarkdownIt().enable("table").parse(text) if token.level == 0]
    for before, token in zip([None, *tokens], tokens, strict=False):
        mark = mark_of(before)
        if token.type not in ("fence", "table_open") or (token.type == "table_open" and not mark):
            continue
        assert token.map is not None
        inside = 1 if token.type == "fence" else 0
        numbers = range(token.map[0] + inside, token.map[1] - inside)
        content = "\n".join(lines[number] for number in numbers).rstrip()
        language = token.info.strip()
        kind, argument = mark or ("run" if language == "sh" else "unmarked", "")
        yield Block(name(page), numbers, language, content, kind, argument)


def mark_of(token: Token | None) -> tuple[str, str] | None:
    """The mark in a comment, with its argument; None where it is no mark."""
    match = MARK.fullmatch(token.content.strip()) if token and token.type == "html_block" else None
    if match is None:
        return None
    if match[1] == "from":
        return "from", match[2]
    kind, _, argument = match[2].partition(" ")
    return kind, argument


def copy_repository(folder: Path) -> None:
    """Copy what git would track, with the tools where the README's first command puts them."""
    listed = git("ls-files", "-co", "--exclude-standard", folder=ROOT).decode()
    for file in listed.splitlines():
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / file).exists():
            shutil.copy2(ROOT / file, target, follow_symlinks=False)
    tools = folder / ".tox" / "benches"
    tools.mkdir(parents=True)
    (tools / "bin").symlink_to(Path(sys.executable).parent)


def run(command: str, folder: Path, artifacts: Path | None = None) -> Result:
    """Run a shell command in a copy, as a user without `CI` would."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | AUTHOR
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment["PYTHONPATH"] = str(folder)
    if artifacts is not None:
        environment["QMODELS_CACHE_DIR"] = str(artifacts)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )


def part(output: str, first_line: str) -> str:
    """The paragraph of an output that begins with a line, apart from spaces; empty if none does."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(line.rstrip() for line in output.splitlines()))
    for paragraph in paragraphs:
        lines = paragraph.strip("\n").splitlines()
        if lines and lines[0].split() == first_line.split():
            return "\n".join(lines)
    return ""


@cache
def output_of(command: str) -> str:
    """What a command prints in this checkout."""
    return run(command, ROOT).stdout


def refresh(page: Path) -> int:
    """Write the output of its commands into a page again; returns how many blocks changed."""
    lines = page.read_text(encoding="utf-8").splitlines()
    changed = 0
    for block in reversed([block for block in blocks(page) if block.mark == "from"]):
        new = part(output_of(block.argument), block.text.splitlines()[0])
        if not new:
            sys.exit(f"{block}: `{block.argument}` prints no such table or text")
        if new != block.text:
            lines[block.lines.start : block.lines.stop] = new.splitlines()
            changed += 1
    if changed:
        page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return changed


if __name__ == "__main__":
    for changed_page in pages():
        if count := refresh(changed_page):
            print(f"{name(changed_page)}: {count} blocks")
