"""Errors that the user can fix: one line each, no traceback."""

from dataclasses import dataclass
from pathlib import Path


class UserError(Exception):
    """Something outside the program is wrong. The text names it, its value and the remedy.

    Attributes:
        status: the exit status of a command that it ends.
    """

    status = 2


class NothingMeasured(UserError):
    """A run has no benchmark, so there is no verdict."""

    status = 3


class Unavailable(UserError):
    """This machine lacks what a variant needs: benches skip it with the text as the reason."""


@dataclass(frozen=True)
class Obstacle:
    """Why something can't run here.

    Attributes:
        reason: a line with the remedy.
        fixable: whether installing something removes it. Another processor, operating system or
            GPU can't be installed.
    """

    reason: str
    fixable: bool


def refused(error: OSError) -> str:
    """A line for an ``OSError``: of a path that can't be read, or of the output."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}: check its folder and its mode"
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the working directory was deleted: change to another"
    return f"the output can't be written ({error.strerror}): send it elsewhere"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def describe_error(error: BaseException) -> str:
    """The type of an error and its first line, for use within a line."""
    return f"{type(error).__name__}: {first_line(error)}"


def failure_line(name: str, error: BaseException) -> str:
    """One line for the failure of something: a user's error as it is, others with name and type."""
    return first_line(error) if isinstance(error, UserError) else f"{name}: {describe_error(error)}"
