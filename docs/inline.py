"""Whether what inline code names exists: a file, a command or an option.

Other inline code, such as a variant or a metric, is not checked.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

from docs import commands
from qmodels import cli
from qmodels.gate import tolerances

PROGRAMS = ("qmodels", "tox", "pytest", "python", "torchrun")
OPTION = re.compile(r"--?[a-z][\w-]*")
SUFFIX = re.compile(r".+\.(csv|ini|json|md|py|svg|toml|ya?ml)")
PLACEHOLDER = re.compile(r"<[^<>]+>")  # any name
# Files and folders that users have, and this repository has not.
THEIRS = ("cifar-100-python/", tolerances.TOLERANCES_FILE)


def texts(page: Path) -> Iterator[tuple[int, str]]:
    """Each inline code of a page, with the number of its paragraph's first line, from 1."""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        for child in token.children or ():
            if child.type == "code_inline":
                yield (token.map[0] + 1 if token.map else 0), child.content


def problems(text: str, root: Path) -> list[str] | None:
    """What does not exist, in lines; None for what names no file, command or option.

    Args:
        root: the repository, or a copy of it.
    """
    words = PLACEHOLDER.sub("*", text).split()
    if not words:
        return None
    if OPTION.fullmatch(words[0].partition("=")[0]):
        return [f"no command has the option {words[0]}"] if not is_option(words[0]) else []
    if len(words) > 1 and Path(words[0]).name in PROGRAMS:
        files = [word for word in words[1:] if "/" in word and is_path(word)]
        return [*commands.problems_of(shlex.split(text)), *missing_files(files, root)]
    return missing_files(words, root) if len(words) == 1 and is_path(words[0]) else None


def is_option(word: str) -> bool:
    """Whether any command of this repository has an option."""
    names = [["qmodels", name] for name in cli.commands()]
    return any(
        not commands.missing_options([word], commands.help_of((str(commands.BIN / name), *rest)))
        for name, *rest in [["pytest", "benches"], ["tox", "run"], *names]
    )


def is_path(word: str) -> bool:
    """Whether a word names a file or a folder of a repository."""
    folder = word.endswith("/") and not word.startswith("/")
    return folder or SUFFIX.fullmatch(word.partition("=")[0]) is not None


def missing_files(words: list[str], root: Path) -> list[str]:
    """Files that lie nowhere in the repository; ``*`` stands for any name."""
    return [
        f"no such file: {word}"
        for word in words
        if word not in THEIRS and not any(root.rglob(word))
    ]
