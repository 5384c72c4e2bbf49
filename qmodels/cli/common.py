"""Options that commands share, and the values that the options stand for."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from qmodels import data, gate, network, variants
from qmodels.data import Dataset, Split
from qmodels.gate import Baseline, Run, Tolerances
from qmodels.network import Network
from qmodels.system.errors import NothingMeasured, UserError
from qmodels.training import checkpoints, networks, on_demand
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.recipes import Recipe

PROGRESS = Console(stderr=True)


class NetworkOptions(NamedTuple):
    """What identifies a network of this package before it is trained."""

    dataset: str
    architecture: str
    width: int


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options that `network_options` reads."""
    widths = ", ".join(f"{width} for {name}" for name, width in on_demand.DEFAULT_WIDTH.items())
    default, *others = network.ARCHITECTURES
    parser.add_argument("--dataset", help=f"{' or '.join(data.DATASETS)} (default: {data.DEFAULT})")
    parser.add_argument(
        "--architecture", help=f"{default} or {', '.join(others)} (default: {default})"
    )
    parser.add_argument("--width", type=int, help=f"channels of the stem (default: {widths})")


def network_options(arguments: argparse.Namespace) -> NetworkOptions:
    """The network that the options name.

    Raises:
        UserError: an unknown data set or architecture, or an impossible width.
    """
    dataset = data.check(arguments.dataset or data.DEFAULT)
    architecture = arguments.architecture or network.ARCHITECTURES[0]
    width = on_demand.DEFAULT_WIDTH[dataset] if arguments.width is None else arguments.width
    network.check(architecture, width)
    return NetworkOptions(dataset, architecture, width)


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add `--checkpoint` to the options of `add_network`."""
    parser.add_argument(
        "--checkpoint",
        metavar="NAME|FILE",
        help="a checkpoint that `qmodels doctor` lists (default: the one that benches use)",
    )


def trained_network(arguments: argparse.Namespace) -> Network:
    """The network of the named checkpoint, or else the one that benches use.

    Raises:
        UserError: there is none, or the named one is quantized.
    """
    if arguments.checkpoint is None:
        dataset, checkpoint = default_checkpoint(arguments)
        return networks.network(checkpoint, dataset)
    checkpoint = checkpoints.resolve(arguments.checkpoint)
    if checkpoint.quantization_aware:
        raise UserError(
            f"--checkpoint {checkpoint.path.stem} is quantized already: name its float parent"
        )
    return networks.network(checkpoint, data.load(checkpoint.dataset))


def default_checkpoint(arguments: argparse.Namespace) -> tuple[Dataset, Checkpoint]:
    """The checkpoint that benches use for the network of the options, and its data set."""
    name, architecture, width = network_options(arguments)
    dataset = data.load(name)
    return dataset, on_demand.find_or_train(dataset, architecture, width, console=PROGRESS)


def check_images(count: int, split: Split) -> None:
    """Raise UserError unless a split has so many images, at least one."""
    if not 1 <= count <= len(split):
        raise UserError(f"--images {count}: choose from 1 to {len(split)}")


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


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add a run, and the baseline that it is compared with."""
    parser.add_argument("run", type=Path, metavar="RUN.json", help="written by --benchmark-json")
    parser.add_argument("--baseline", type=Path, help="default: the stored run that fits")


def read_run(arguments: argparse.Namespace) -> Run:
    """The run in the arguments.

    Raises:
        UserError: it can't be read, or has no benchmark.
    """
    run = gate.read_run(arguments.run)
    if not run.entries and not run.failures:
        raise NothingMeasured(
            f"run {arguments.run} has no benchmark: make one with `pytest benches`"
        )
    return run


def read_baseline(path: Path) -> Baseline:
    """The baseline at a path.

    Raises:
        UserError: there is none, or it can't be read.
    """
    baseline = gate.read_baseline(path)
    if baseline is None:
        raise UserError(
            f"baseline {path} does not exist: name a stored run, or make one with "
            "`pytest benches --qmodels-update-baseline`"
        )
    return baseline


def baseline_for(run: Run, named: Path | None) -> Baseline | None:
    """The named baseline, or else the stored one that the harness compares a run with."""
    if named:
        return read_baseline(named)
    if not run.entries:
        return None
    entries = list(run.entries.values())
    network = entries[0].key.network  # every entry has the same
    classes = dict.fromkeys(entry.machine_class for entry in entries)
    digests = {entry.conditions["checkpoint"] for entry in entries}
    return gate.find_baseline(baselines(), classes, network, digests)


def baselines() -> Path:
    """The folder of stored runs: that of the checkout one is in, else that of this code.

    A worktree has no environment of its own, and uses the command of another one.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "baselines" / gate.tolerances.FILE).is_file():
            return folder / "baselines"
    return checkpoints.shipped_dir().parent


def tolerances() -> Tolerances:
    """The tolerances of the checkout."""
    return gate.read_tolerances(baselines(), variants.all_variants())
