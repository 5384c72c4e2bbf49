"""Options of commands that read or train a network, and the values that the options stand for."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from qmodels import data, network
from qmodels.data import Dataset
from qmodels.network import Network, checks, open_network
from qmodels.system import defaults
from qmodels.system.errors import UserError
from qmodels.training import checkpoints, networks, on_demand
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.recipes import Recipe

PROGRESS = Console(stderr=True)


class NetworkOptions(NamedTuple):
    """The options that identify a packaged network before it is trained."""

    dataset: str
    architecture: str
    width: int


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that `network_options` reads, and `--network`."""
    parser.add_argument(
        "--network", metavar="MODULE:FUNCTION", help="the network that this function returns"
    )
    widths = ", ".join(f"{width} for {name}" for name, width in defaults.WIDTHS.items())
    parser.add_argument(
        "--dataset", help=f"{' or '.join(data.DATASETS)} (default: {defaults.DATASET})"
    )
    parser.add_argument(
        "--architecture",
        help=f"{' or '.join(defaults.ARCHITECTURES)} (default: {defaults.ARCHITECTURE})",
    )
    parser.add_argument("--width", type=int, help=f"channels of the stem (default: {widths})")


def network_options(arguments: argparse.Namespace) -> NetworkOptions:
    """The network that the options name."""
    dataset = data.check(arguments.dataset or defaults.DATASET)
    architecture = arguments.architecture or defaults.ARCHITECTURE
    width = defaults.WIDTHS[dataset] if arguments.width is None else arguments.width
    network.check(architecture, width)
    return NetworkOptions(dataset, architecture, width)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add `--checkpoint` to the options of `add_network`."""
    parser.add_argument(
        "--checkpoint",
        metavar="NAME|FILE",
        help="a checkpoint that `qmodels doctor` lists (default: the one that benches use)",
    )


def network_name(arguments: argparse.Namespace) -> str:
    """The name of the network of the options."""
    if arguments.network is not None:
        return _own_network(arguments).name
    return defaults.network_name(*network_options(arguments))


def _own_network(arguments: argparse.Namespace) -> Network:
    for name in ("dataset", "architecture", "width", "checkpoint"):
        if getattr(arguments, name, None) is not None:
            raise UserError(f"--{name} is of packaged networks: leave out --network")
    sys.path.append(str(Path.cwd()))
    return open_network(arguments.network)


def trained_network(arguments: argparse.Namespace) -> Network:
    """The network of a function or of the named checkpoint, or else the one that benches use."""
    if arguments.network is not None:
        own = _own_network(arguments)
        checks.check(own)
        return own
    if arguments.checkpoint is None:
        return networks.of_checkpoint(default_checkpoint(arguments)[1])
    checkpoint = checkpoints.resolve(arguments.checkpoint)
    if checkpoint.quantization_aware:
        raise UserError(
            f"--checkpoint {checkpoint.path.stem} is quantized already: name its float parent"
        )
    return networks.of_checkpoint(checkpoint)


def default_checkpoint(arguments: argparse.Namespace) -> tuple[Dataset, Checkpoint]:
    """The checkpoint that benches use for the network of the options, and its data set."""
    name, architecture, width = network_options(arguments)
    dataset = data.load(name)
    return dataset, on_demand.find_or_train(dataset, architecture, width, console=PROGRESS)


def check_images(count: int, most: int) -> None:
    """Raise UserError unless there are so many images, at least one."""
    if not 1 <= count <= most:
        raise UserError(f"--images {count}: choose from 1 to {most}")


def add_recipe(parser: argparse.ArgumentParser, names: str) -> None:
    """Add the options that `choose_recipe` reads."""
    parser.add_argument("--recipe", help=f"{names} (default: by data set and device)")
    parser.add_argument("--epochs", type=int, help="stretch or shorten the recipe")


def choose_recipe(
    arguments: argparse.Namespace, recipes: Mapping[str, Recipe], default: Recipe
) -> Recipe:
    """The named recipe, or else the default, for the number of epochs in the options."""
    name = arguments.recipe
    if name and name not in recipes:
        raise UserError(f"recipe {name!r} is not for this: choose from {', '.join(recipes)}")
    recipe = recipes[name] if name else default
    return recipe if arguments.epochs is None else recipe.with_epochs(arguments.epochs)


def is_main_process() -> bool:
    """Whether this process prints: rank 0 under torchrun, or the only one."""
    return os.environ.get("RANK", "0") == "0"
