"""Whether the commands in a code block exist, with their options; none of them is run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import yaml

from docs.pages import ROOT, Block

BIN = Path(sys.executable).parent
# Programs of other projects: that they are named is all that is checked.
OTHERS = ("cd", "git", "pip", "pre-commit")
OPERATOR = re.compile(r"[();<>|&]+")


def problems(block: Block) -> list[str]:
    """What does not exist, in lines; empty where everything does."""
    return [line for words in commands(block) for line in problems_of(words)]


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a block: of a workflow those of its steps."""
    script = block.text
    if block.language == "yaml":
        steps = yaml.safe_load(block.text)
        script = "\n".join(step["run"] for step in steps if "run" in step)
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not OPERATOR.fullmatch(word):
                words.append(word)
                continue
            if words:
                yield words
            # What follows a redirection is a file.
            words = ["cd"] if ">" in word or "<" in word else []


def problems_of(words: Sequence[str]) -> list[str]:
    """What one command names that does not exist."""
    program, *arguments = words
    program = Path(program).name
    if program in ("python", "python3", "torchrun"):
        if "-m" not in arguments:
            return [f"{program} without -m"]
        module, *arguments = arguments[arguments.index("-m") + 1 :]
        if module == "venv":
            return []
        program = module
    if program in OTHERS:
        return []
    if program == "tox":
        return tox_problems(arguments)
    if program == "pytest":
        return missing_options(arguments, help_of((str(BIN / "pytest"), "benches")))
    if program == "qmodels":
        names = tuple(subcommands(arguments))
        return missing_options(arguments, help_of((str(BIN / "qmodels"), *names)))
    if program == "docs.study":
        return missing_options(arguments, help_of((sys.executable, "-m", program)))
    return [f"there is no check for {program!r}"]


def tox_problems(arguments: Sequence[str]) -> list[str]:
    """Environments that tox does not know, and options behind ``--`` that pytest does not know."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    own, passed = arguments[:split], arguments[split + 1 :]
    names = own[own.index("-e") + 1].split(",") if "-e" in own else []
    lines = [f"tox has no environment {name!r}" for name in names if not is_environment(name)]
    return lines + missing_options(passed, help_of((str(BIN / "pytest"), "benches")))


@cache
def is_environment(name: str) -> bool:
    """Whether tox knows an environment."""
    ended = subprocess.run(
        [str(BIN / "tox"), "config", "-e", name, "-k", "env_name"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return ended.returncode == 0


def subcommands(arguments: Sequence[str]) -> Iterator[str]:
    """The command behind ``qmodels``, and of ``baseline`` the one behind that."""
    yield from arguments[: 2 if arguments[:1] == ["baseline"] else 1]


@cache
def help_of(command: tuple[str, ...]) -> str:
    """What a command prints with ``--help``; empty where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [*command, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return ended.stdout if ended.returncode == 0 else ""


def missing_options(arguments: Sequence[str], text: str) -> list[str]:
    """Options that a help does not list; all of it where there is no help."""
    if not text:
        return [f"no such command: {' '.join(arguments)}"]
    options = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    return [
        f"no option {option}"
        for option in options
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text)
    ]
