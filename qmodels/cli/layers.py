"""Show the time of a forward and the noise of quantization, layer by layer."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tabulate import tabulate

from qmodels import variants
from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.cli import common
from qmodels.measure import layer_times, layers
from qmodels.measure.layer_times import TimeProfile
from qmodels.network import images
from qmodels.report import trace
from qmodels.system import files, machine
from qmodels.system.errors import UserError

EXAMPLE = "qmodels layers static-int8-jit"
_NO_LAYER = "not a layer"
_BETWEEN = "between what the profiler saw"
# Percent by which a forward under the profiler may differ from one without it.
_MOST_DIFFERENCE = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("variant", help="a variant that runs on a CPU")
    common.add_network(parser)
    common.add_checkpoint(parser)
    parser.add_argument(
        "--batch-size", type=int, default=1, help="of the timed forwards (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="of the timed forwards (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=100,
        help="of the test split, for noise (default: %(default)s)",
    )
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="write the forwards for ui.perfetto.dev"
    )
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print a table of milliseconds and signal-to-noise ratios.

    Quantization is compared with the float network, the runtime with the same quantized network in
    reference arithmetic.
    """
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size {arguments.batch_size}: choose 1 or more")
    machine.check_threads("--threads", arguments.threads)
    if arguments.trace and arguments.trace.is_dir():
        raise UserError(f"--trace {arguments.trace} is a folder: name a file in it")
    network = common.trained_network(arguments)
    variant, *others = variants.select(arguments.variant)
    if others:
        raise UserError(f"{arguments.variant} are {1 + len(others)} variants: choose one of them")
    common.check_images(arguments.images, len(network.test_images))
    artifact = variants.build(variant, network, console=common.PROGRESS)
    with common.PROGRESS.status(f"profiling {variant.name}"):
        profile = layer_times.profile(artifact, arguments.batch_size, arguments.threads)
    pixels = images.read(network.test_images, range(arguments.images))
    with common.PROGRESS.status(f"measuring the noise of {variant.name}"):
        measured = layers.noise(
            artifact, network.load(), pixels, quantize=lambda: variants.quantize(variant, network)
        )
    noise = {layer.layer: layer for layer in measured}
    print(_as_json(profile, noise) if arguments.json else _as_table(profile, noise, arguments))
    if arguments.trace:
        files.write_text(arguments.trace, trace.trace_json(variant.name, profile.forwards))
        common.PROGRESS.print(f"wrote {arguments.trace}: open it at https://ui.perfetto.dev")


def _as_json(profile: TimeProfile, noise: Mapping[str, LayerSqnr]) -> str:
    """Seconds of a forward, and records of its parts; noise is null where a layer has none."""
    rows = []
    for layer in profile.layers:
        decibels = noise.get(layer.layer)
        rows.append(
            {
                **asdict(layer),
                "quantization_db": decibels and decibels.quantization_db,
                "runtime_db": decibels and decibels.runtime_db,
            }
        )
    return json.dumps(
        {
            "layers": rows,
            "others": [asdict(other) for other in profile.others],
            "between_seconds": profile.between_seconds,
            "profiled_seconds": profile.seconds,
            "forward_seconds": profile.forward_seconds,
        }
    )


def _as_table(
    profile: TimeProfile, noise: Mapping[str, LayerSqnr], arguments: argparse.Namespace
) -> str:
    whole = profile.seconds

    def times(name: str, seconds: float) -> list[str]:
        return [name, f"{1e3 * seconds:.3f}", f"{100 * seconds / whole:.1f}"]

    rows = []
    for layer in profile.layers:
        decibels = noise.get(layer.layer)
        values = (decibels.quantization_db, decibels.runtime_db) if decibels else (None, None)
        shown = ["" if value is None else f"{value:.1f}" for value in values]
        rows.append([*times(layer.layer, layer.seconds), *shown, layer.operation])
    for other in profile.others:
        operation = f"{other.operation}, {other.calls} call{'s'[: other.calls > 1]}"
        rows.append([*times(_NO_LAYER, other.seconds), "", "", operation])
    rows.append([*times(_NO_LAYER, profile.between_seconds), "", "", _BETWEEN])
    rows.append([*times("sum", whole), "", "", ""])
    headers = ["Layer", "ms", "%", "Quantization (dB)", "Runtime (dB)", "Kernel"]
    align = ("left", "right", "right", "right", "right", "left")
    table = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)
    images, threads = arguments.batch_size, arguments.threads
    difference = 100 * (whole / profile.forward_seconds - 1)
    lines = [
        f"a forward: {1e3 * profile.forward_seconds:.3f} ms, and under the profiler "
        f"{1e3 * whole:.3f} ms ({difference:+.1f} %); "
        f"{images} image{'s'[: images > 1]}, {threads} thread{'s'[: threads > 1]}"
    ]
    if difference < -_MOST_DIFFERENCE:
        lines.append("something else slowed the forwards without it: run it again")
    if difference > _MOST_DIFFERENCE:
        lines.append(
            "the profiler takes much of such a short forward: see longer ones with --batch-size "
            f"{8 * images}"
        )
    if profile.unseen:
        lines.append(f"not shown by the profiler, and so no layer: {', '.join(profile.unseen)}")
    return "\n".join([table, "", *lines])
