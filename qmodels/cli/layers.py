"""Show the noise of quantization and of the runtime, layer by layer."""

import argparse
import json
from dataclasses import asdict

from tabulate import tabulate

from qmodels import variants
from qmodels.cli import common
from qmodels.measure import layers
from qmodels.system.errors import UserError

EXAMPLE = "qmodels layers static-int8-jit"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("variant", help="a quantized variant of TorchScript or ONNX")
    common.add_network(parser)
    common.add_checkpoint(parser)
    parser.add_argument(
        "--images", type=int, default=100, help="of the test split (default: %(default)s)"
    )
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print a table of signal-to-noise ratios.

    Quantization is compared with the float network, the runtime with the same quantized network in
    reference arithmetic.
    """
    network = common.trained_network(arguments)
    variant, *others = variants.select(arguments.variant)
    if others:
        raise UserError(f"{arguments.variant} are {1 + len(others)} variants: choose one of them")
    dataset = network.dataset
    common.check_images(arguments.images, dataset.test)
    noise = layers.noise(
        variants.build(variant, network, console=common.PROGRESS),
        network.load(),
        dataset.normalize(dataset.test.first(arguments.images).images),
    )
    if not noise:
        raise UserError(
            f"{variant.name} shows no quantized layers: choose one of TorchScript or ONNX, as "
            "static-int8-jit or onnx-int8"
        )
    if arguments.json:
        print(json.dumps([asdict(layer) for layer in noise]))
        return
    rows = [(layer.layer, layer.quantization_db, layer.runtime_db) for layer in noise]
    headers = ("Layer", "Quantization (dB)", "Runtime (dB)")
    print(tabulate(rows, headers, tablefmt="pipe", floatfmt=".1f"))
