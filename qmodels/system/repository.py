"""Ask git."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qmodels.system import worker
from qmodels.system.errors import UserError

_SECONDS = 300.0
# A hook of git has variables that name the repository whose hook it is.
_GIT = "GIT_"


class GitError(UserError):
    """A command of git failed."""


def git(*arguments: str, folder: Path) -> bytes:
    """The output of a git command in a folder.

    Raises:
        GitError: it failed.
        UserError: git is not installed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_GIT)}
    try:
        finished = worker.run(
            "git", *arguments, timeout=_SECONDS, folder=folder, environment=environment
        )
    except OSError as error:
        raise UserError(f"git can't be run ({error.strerror}): install it") from None
    if finished.status:
        lines = finished.stderr.decode(errors="replace").splitlines()
        reason = next((line for line in lines if line.startswith("fatal:")), finished.reason)
        raise GitError(f"git {arguments[0]} failed in {folder}: {reason}")
    return finished.stdout


@contextmanager
def without_variables() -> Iterator[None]:
    """Hide git's variables from the block, in which others ask git too."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith(_GIT)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)
