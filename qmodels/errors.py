"""The errors that are the user's to mend: one line each, no traceback."""


class UserError(Exception):
    """Something outside the program is wrong; the text names it, its value and the remedy."""


class Unavailable(UserError):
    """This machine lacks what a variant needs: benches skip it with the text as the reason."""
