"""Rank layers by the loss that quantizing each alone causes."""

import argparse
import json
from dataclasses import asdict

from tabulate import tabulate

from qmodels.cli import common
from qmodels.quantize import sensitivity

EXAMPLE = "qmodels sensitivity --images 100"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    common.add_network(parser)
    common.add_checkpoint(parser)
    parser.add_argument(
        "--images", type=int, default=500, help="of those for calibration (default: %(default)s)"
    )
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Rank the layers in reference arithmetic, which needs no int8 kernels; print a table."""
    network = common.trained_network(arguments)
    pixels = network.calibration_images
    common.check_images(arguments.images, len(pixels))
    with common.PROGRESS.status("calibrating") as status:
        layers = sensitivity.rank(
            network.load(),
            pixels[: arguments.images],
            progress=lambda name: status.update(f"quantizing {name} alone"),
        )
    if arguments.json:
        print(json.dumps([asdict(layer) for layer in layers]))
        return
    rows = [
        (layer.name, layer.weights, 1e3 * layer.loss, layer.sqnr_db, 100 * layer.changed)
        for layer in layers
    ]
    headers = ("Layer", "Weights", "Loss (mnat)", "SQNR (dB)", "Changed (%)")
    print(tabulate(rows, headers, tablefmt="pipe", floatfmt=("", "", ".3f", ".1f", ".1f")))
