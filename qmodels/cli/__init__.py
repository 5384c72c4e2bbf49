"""The command line, a module a command: parse, call, print.

A module has its command's name, and the first line of its docstring is the help. It has an
``EXAMPLE``, ``add_arguments(parser)`` and ``run(arguments)``, which returns the exit status (None
for 0).
"""

import argparse
import ast
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from qmodels import __version__
from qmodels.system import store
from qmodels.system.errors import UserError, refused

_NO_COMMANDS = ("__init__", "common", "runs")
_INTERRUPTED, _CLOSED_PIPE = 130, 141  # 128 + the signal's number, as shells report it


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command.

    Exit status: the command's own; for an error that the user can correct its status, and one line.
    """
    argv = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # lines of tables, where there is no UTF-8
    try:
        try:
            Path.cwd()  # torch dies where it was deleted
            store.place_inductor_cache()
            arguments = parser(*argv[:1]).parse_args(argv)
            status = arguments.action(arguments)
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"qmodels: {error}", file=sys.stderr)
        sys.exit(error.status)
    except BrokenPipeError:  # the reader, `head` for instance, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_CLOSED_PIPE)
    except OSError as error:
        print(f"qmodels: {refused(error)}", file=sys.stderr)
        with suppress(OSError, ValueError):  # what is left to print would fail at exit again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UserError.status)
    except KeyboardInterrupt:
        print("qmodels: interrupted; finished work is kept", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    if status:
        sys.exit(status)


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of the chosen one.

    The other commands' modules are not imported: torch alone takes seconds.
    """
    top = argparse.ArgumentParser(
        prog="qmodels", description="Measure what quantizing a network costs and buys."
    )
    top.add_argument("--version", action="version", version=f"qmodels {__version__}")
    subparsers = top.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in commands().items():
        sub = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            command = import_module(f"{__name__}.{name}")
            sub.epilog = f"example: {command.EXAMPLE}"
            sub.set_defaults(action=command.run)
            command.add_arguments(sub)
    return top


def commands() -> dict[str, str]:
    """The help of every command by name, read without importing its module."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return {module.stem: _summary(module) for module in modules if module.stem not in _NO_COMMANDS}


def _summary(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    return (docstring or "").partition("\n")[0]
