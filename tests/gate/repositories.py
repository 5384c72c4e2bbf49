"""A git repository in which runs are accepted, commit by commit."""

import subprocess
from pathlib import Path

from qmodels import gate
from tests.gate.records import benchmark, run, stored

IDENTITY = ("-c", "user.name=n", "-c", "user.email=e@example.org")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, *IDENTITY, *arguments], check=True, capture_output=True)


def commit(folder: Path, subject: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", subject)


def accept(folder: Path, subject: str, **values: float) -> None:
    """Accept sizes of variants, whose names have no hyphen, and commit that."""
    gate.accept(folder, run(*(benchmark(name, value) for name, value in values.items())))
    commit(folder, subject)


def make(folder: Path) -> Path:
    """A repository of five commits; returns the stored run.

    ``small`` shrinks by 4 % twice, ``large`` grows at the last but one, ``late`` is new there.
    """
    folder.mkdir(exist_ok=True)
    git(folder, "init", "-q")
    accept(folder, "First", small=1000, large=2000)
    accept(folder, "Second", small=960, large=2000)
    (folder / "README").write_text("no run")
    commit(folder, "No run")
    accept(folder, "Third", small=920, large=2600, late=5)
    accept(folder, "Fourth", small=920, large=2600, late=5.1)
    return stored(folder)
