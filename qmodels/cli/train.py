"""Train a network into the cache; the same command resumes after a kill."""

import argparse
import json
from dataclasses import asdict, replace

from qmodels import data
from qmodels.cli import common
from qmodels.system.errors import UserError
from qmodels.training import checkpoints, loop, on_demand
from qmodels.training.checkpoints import Checkpoint
from qmodels.training.job import Job
from qmodels.training.recipes import FINE_TUNING, RECIPES, Recipe

EXAMPLE = "qmodels train --dataset digits --width 8"
# Training multiplies a seed by up to 100,000; the product is a seed of torch, which has 64 bits.
_MAX_SEED = 2**32 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    common.add_network(parser)
    common.add_recipe(
        parser, f"{', '.join(RECIPES)}; with --qat or --from: {', '.join(FINE_TUNING)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--qat", action="store_true", help="train quantization-aware")
    parser.add_argument(
        "--from",
        dest="parent",
        metavar="CHECKPOINT",
        help="start from a checkpoint that `qmodels doctor` lists (default with --qat: the one "
        "that benches use); without --qat, train the control in float",
    )
    parser.add_argument(
        "--teacher",
        metavar="CHECKPOINT",
        help="the network that a recipe which distills follows (default with --qat or --from: "
        "the one that training starts from)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="what to multiply in (default: the faster of the two, by a short probe)",
    )
    common.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, and print the checkpoint."""
    if not 0 <= arguments.seed <= _MAX_SEED:
        raise UserError(f"--seed {arguments.seed}: choose from 0 to {_MAX_SEED}")
    fine_tune = arguments.qat or arguments.parent
    job = _fine_tuning_job(arguments) if fine_tune else _scratch_job(arguments)
    if arguments.precision:
        job = replace(job, reduced_precision=arguments.precision == "bfloat16")
    trained = loop.train(job, console=common.PROGRESS)
    if not common.is_main_process():
        return
    if arguments.json:
        print(json.dumps({**asdict(trained), "folder": str(trained.folder)}))
    else:
        print(f"top-1 {trained.top1:.2f} %, top-5 error {trained.top5_error:.2f} %: {trained.path}")


def _scratch_job(arguments: argparse.Namespace) -> Job:
    dataset, architecture, width = common.network_options(arguments)
    recipe = common.choose_recipe(arguments, RECIPES, on_demand.recipe_for(dataset, width))
    teacher = _teacher_of(arguments, recipe)
    if recipe.distillation and teacher is None:
        raise UserError(f"recipe {recipe.name} distills: name the network to follow with --teacher")
    return Job(data.load(dataset), architecture, width, recipe, arguments.seed, teacher=teacher)


def _fine_tuning_job(arguments: argparse.Namespace) -> Job:
    if arguments.parent:
        parent = checkpoints.resolve(arguments.parent)
        _check_same_network(arguments, parent)
        dataset = data.load(parent.dataset)
    else:
        dataset, parent = common.default_checkpoint(arguments)
    if parent.quantization_aware:
        raise UserError(f"{parent.file} is quantized already: start from its float parent")
    recipe = common.choose_recipe(arguments, FINE_TUNING, FINE_TUNING["fine-tune"])
    return Job(
        dataset,
        parent.architecture,
        parent.width,
        recipe,
        arguments.seed,
        parent=parent,
        teacher=_teacher_of(arguments, recipe),
        quantization_aware=arguments.qat,
    )


def _teacher_of(arguments: argparse.Namespace, recipe: Recipe) -> Checkpoint | None:
    if arguments.teacher is None:
        return None
    if not recipe.distillation:
        raise UserError(f"--teacher {arguments.teacher}: recipe {recipe.name} does not distill")
    return checkpoints.resolve(arguments.teacher)


def _check_same_network(arguments: argparse.Namespace, parent: Checkpoint) -> None:
    for option in ("dataset", "architecture", "width"):
        value, expected = getattr(arguments, option), getattr(parent, option)
        if value not in (None, expected):
            raise UserError(
                f"--{option} {value} is not that of {parent.file}, {expected}: leave it out"
            )
