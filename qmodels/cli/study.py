"""Measure how often the latency gate is wrong, and what it misses."""

import argparse
from pathlib import Path

from qmodels import variants
from qmodels.cli import common
from qmodels.study import evaluate, picture, record
from qmodels.system.errors import UserError

EXAMPLE = "qmodels study quiet.csv --pairs 400"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "file", type=Path, metavar="FILE.csv", help="the recording; the same command continues it"
    )
    common.add_network(parser)
    common.add_checkpoint(parser)
    parser.add_argument("--variants", metavar="A,B,...", help="fp32 and others (default: all)")
    parser.add_argument(
        "--pairs", type=int, default=400, help="pairs of processes (default: %(default)s)"
    )
    parser.add_argument("--busy", action="store_true", help="load a core on and off meanwhile")


def run(arguments: argparse.Namespace) -> None:
    """Record pairs of processes, and try the gate's rules and pytest-benchmark's on them."""
    chosen = variants.select(arguments.variants)
    if "fp32" not in [variant.name for variant in chosen]:
        raise UserError("--variants lacks fp32, which the others are compared with: add it")
    dataset, checkpoint = common.trained_network(arguments)
    artifacts = {
        variant.name: variants.build(variant, checkpoint, dataset, console=common.PROGRESS)
        for variant in chosen
    }
    rows = record.record(
        artifacts, arguments.file, arguments.pairs, busy=arguments.busy, console=common.PROGRESS
    )
    rates = evaluate.rates(rows, common.tolerances(), console=common.PROGRESS)
    print(evaluate.table(rates))
    picture.draw(rates, arguments.file.with_suffix(".svg"))
