"""Quantize a network, and print where the artifacts are."""

import argparse
import json
import sys

from qmodels import variants
from qmodels.cli import common
from qmodels.measure.metrics import SIZE
from qmodels.system.errors import Unavailable, UserError

EXAMPLE = "qmodels build --variants fp32,static-int8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    common.add_network(parser)
    common.add_checkpoint(parser)
    parser.add_argument("--variants", metavar="A,B,...", help="default: all that run here")
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build every variant that was chosen, and print the artifacts.

    Exit status: 2 if a variant could not be built (the others are), else 0.
    """
    network = common.trained_network(arguments)  # its module may define variants
    chosen = variants.select(arguments.variants)
    artifacts, status = [], 0
    for variant in chosen:
        missing = variant.unavailable_reason()
        if missing and arguments.variants is None:
            print(f"{variant.name} skipped: {missing}", file=sys.stderr)
            continue
        common.PROGRESS.print(f"building {variant.name}")
        try:
            artifact = variants.build(variant, network, console=common.PROGRESS)
        except Unavailable as error:
            if arguments.variants is not None:
                raise
            print(f"{variant.name} skipped: {error}", file=sys.stderr)
        except UserError as error:
            print(f"qmodels: {error}", file=sys.stderr)
            status = 2
        else:
            artifacts.append(artifact)
    records = [
        {
            "variant": artifact.variant.name,
            "folder": str(artifact.folder),
            SIZE.name: artifact.size_bytes,
        }
        for artifact in artifacts
    ]
    if arguments.json:
        print(json.dumps(records))
        return status
    for artifact in artifacts:
        print(f"{artifact.variant.name:<18}{artifact.size_bytes / 1e6:8.2f} MB  {artifact.folder}")
    return status
