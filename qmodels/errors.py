"""The errors that are the user's to mend: one line each, no traceback."""


class UserError(Exception):
    """Something outside the program is wrong; the text names it, its value and the remedy."""


class Unavailable(UserError):
    """This machine lacks what a variant needs: benches skip it with the text as the reason."""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for use within a line of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def described(error: BaseException) -> str:
    """The kind of an error and its first line, for use within a line of ours."""
    return f"{type(error).__name__}: {first_line(error)}"
