"""List every variant, its engine, and whether it runs here."""

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from qmodels import variants
from qmodels.cli import common

EXAMPLE = "qmodels variants"
# Columns of a table in a pipe, of which each row is a line.
_UNLIMITED = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print a table of the variants, or JSON."""
    known = variants.all_variants().values()
    if arguments.json:
        records = [
            {
                "name": variant.name,
                "engine": variant.engine,
                "summary": variant.summary,
                "extra": variant.extra,
                "missing": variant.unavailable_reason(),
                "deprecated": variant.backend.deprecation(),
            }
            for variant in known
        ]
        print(json.dumps(records))
        return
    table = Table("variant", "engine", "extra", "what it does", "here")
    for variant in known:
        deprecated = variant.backend.deprecation()
        here = variant.unavailable_reason() or (f"yes; {deprecated}" if deprecated else "yes")
        table.add_row(variant.name, variant.engine, variant.extra or "", variant.summary, here)
    # FORCE_COLOR has rich take a pipe for a terminal.
    Console(width=None if sys.stdout.isatty() else _UNLIMITED).print(table)
