"""Measure how often the latency gate is wrong on this machine, and which slowdowns it misses.

Run it in the root of the repository, with qmodels installed:
``python -m docs.study docs/study/quiet.csv --pairs 312``.
"""

import argparse
import sys
from pathlib import Path

from docs.study import evaluate, picture, record
from qmodels import variants
from qmodels.cli import common, runs
from qmodels.system.errors import UserError


def main() -> None:
    """Record pairs of processes, and apply the gate's rules and pytest-benchmark's to them."""
    parser = argparse.ArgumentParser(prog="python -m docs.study", description=main.__doc__)
    parser.add_argument(
        "file", type=Path, metavar="FILE.csv", help="the recording; an existing one is continued"
    )
    common.add_network(parser)
    common.add_checkpoint(parser)
    parser.add_argument("--variants", metavar="A,B,...", help="fp32 and others (default: all)")
    parser.add_argument(
        "--pairs", type=int, default=400, help="pairs of processes (default: %(default)s)"
    )
    parser.add_argument("--busy", action="store_true", help="load a core on and off meanwhile")
    try:
        run(parser.parse_args())
    except UserError as error:
        sys.exit(f"error: {error}")


def run(arguments: argparse.Namespace) -> None:
    """Continue the recording up to the number of pairs; print the tables and draw the picture."""
    rows = record.read(arguments.file)
    if record.next_pair(rows) < arguments.pairs:
        rows = record.record(
            build(arguments),
            arguments.file,
            arguments.pairs,
            busy=arguments.busy,
            console=common.PROGRESS,
        )
    rates = evaluate.rates(rows, runs.tolerances(variants.all_variants()), console=common.PROGRESS)
    print(evaluate.table(rates))
    picture.draw(rates, arguments.file.with_suffix(".svg"))


def build(arguments: argparse.Namespace) -> dict[str, variants.Artifact]:
    """Artifacts by variant.

    Raises:
        UserError: fp32 is not among the variants, or one of them cannot run here.
    """
    chosen = variants.select(arguments.variants)
    if "fp32" not in [variant.name for variant in chosen]:
        raise UserError("--variants lacks fp32, which the others are compared with: add it")
    network = common.trained_network(arguments)
    return {
        variant.name: variants.build(variant, network, console=common.PROGRESS)
        for variant in chosen
    }


if __name__ == "__main__":
    main()
