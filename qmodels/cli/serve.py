"""Answer requests of another checkout; `--qmodels-base` starts it."""

import argparse

from qmodels.base import serving

EXAMPLE = "qmodels serve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no option: requests come in on standard input."""


def run(arguments: argparse.Namespace) -> None:
    """Serve one connection."""
    serving.main()
