"""Recommend the best variant that loses at most a margin of accuracy."""

import argparse

from qmodels import report
from qmodels.cli import runs
from qmodels.report.choice import PREFERENCES
from qmodels.system.defaults import MAX_DROP

EXAMPLE = "qmodels choose run.json --max-drop 0.2 --prefer size"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    runs.add_run(parser)
    parser.add_argument(
        "--max-drop",
        type=float,
        default=MAX_DROP,
        metavar="POINTS",
        help="of top-1, or percent of a score, that may be lost (default: %(default)s)",
    )
    parser.add_argument(
        "--prefer",
        choices=PREFERENCES,
        default="latency",
        help="what to have least of (default: %(default)s)",
    )
    parser.add_argument(
        "--runtime", help="only variants that this executes: torch, onnxruntime or openvino"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="of the latency; by default the least of the run",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the recommendation.

    Exit status: 0 if a variant meets the margin, 1 if none can, 3 if the intervals leave it open.
    """
    run, stored = runs.read_run_or_stored(arguments.run)
    choice = report.choose(
        run,
        arguments.max_drop,
        arguments.prefer,
        runtime=arguments.runtime,
        batch_size=arguments.batch_size,
    )
    print(", ".join(runs.describe(run)))
    if stored:
        print(f"stored in {stored}")
    print()
    print(report.choice_text(choice))
    return choice.status
