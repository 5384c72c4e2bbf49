"""Measure what each ingredient of a recipe adds to held-out accuracy."""

import argparse
import json
from dataclasses import asdict

from qmodels import data
from qmodels.cli import common
from qmodels.system.errors import UserError
from qmodels.training import on_demand, tuning
from qmodels.training.recipes import RECIPES

EXAMPLE = "qmodels tune --recipe compact-cpu --epochs 6 --seeds 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    common.add_network(parser)
    common.add_recipe(parser, ", ".join(RECIPES))
    parser.add_argument(
        "--ingredients",
        metavar="A,B,...",
        default="schedule,label-smoothing,cutmix,averaging",
        help=f"of {', '.join(tuning.INGREDIENTS)} (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, default=2, help="default: %(default)s")
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train every variation, and print what each ingredient is worth."""
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: choose 1 or more")
    dataset, architecture, width = common.network(arguments)
    effects = tuning.effects(
        data.load(dataset),
        architecture,
        width,
        common.choose_recipe(arguments, RECIPES, on_demand.recipe_for(dataset, width)),
        [name.strip() for name in arguments.ingredients.split(",")],
        arguments.seeds,
        console=common.PROGRESS,
    )
    if not common.is_main_process():
        return
    if arguments.json:
        print(json.dumps([asdict(effect) for effect in effects]))
    else:
        print(tuning.table(effects))
