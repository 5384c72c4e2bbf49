"""The command line: parse, call, print."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from qmodels import (
    __version__,
    checkpoints,
    data,
    gate,
    machine,
    report,
    resnet,
    store,
    training,
    variants,
)
from qmodels.data import Dataset
from qmodels.errors import UserError

PROGRESS = Console(stderr=True)


def doctor(arguments: argparse.Namespace) -> None:
    """Show what this machine has and what would be used."""
    choice = data.choose("auto")
    engine = machine.quantized_engine()
    found: dict[str, Any] = {
        "machine_class": machine.machine_class(),
        "cores": machine.physical_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "quantized_engine": engine,
        "int8_saturates": machine.int8_saturates(engine),
        "dataset": choice.name,
        "dataset_reason": choice.reason,
        "cache_dir": str(store.cache_dir()),
        "data_dir": str(data.data_dir()),
        "checkpoints": [
            f"{one.dataset} {one.architecture} width {one.width}: "
            f"top-1 {one.top1:.2f} % ({one.path})"
            for folder in (store.cache_dir("checkpoints"), checkpoints.shipped_dir())
            for one in checkpoints.read_index(folder)
        ],
        "missing": {
            name: reason
            for name, variant in variants.all_variants().items()
            if (reason := variant.missing())
        },
        "versions": machine.versions(),
    }
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items()) or "none"
        elif isinstance(value, list):
            value = "\n".join(value) or "none"
        text = str(value).replace("\n", "\n" + " " * 18)
        print(f"{name.replace('_', ' '):<18}{text}")


def list_variants(arguments: argparse.Namespace) -> None:
    """Show every variant, its engine, and whether it runs here."""
    known = variants.all_variants().values()
    if arguments.json:
        records = [
            {
                "name": one.name,
                "engine": one.engine,
                "summary": one.summary,
                "missing": one.missing(),
            }
            for one in known
        ]
        print(json.dumps(records))
        return
    table = Table("variant", "engine", "what it does", "here")
    for one in known:
        table.add_row(one.name, one.engine, one.summary, one.missing() or "yes")
    Console().print(table)


def train(arguments: argparse.Namespace) -> None:
    """Train a network into the cache; killed, the same command goes on from the last epoch."""
    dataset, width = network(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = training.recipe_for(dataset.name, device)
    if arguments.recipe:
        recipe = training.RECIPES[arguments.recipe]
    trained = training.train(
        dataset,
        arguments.architecture,
        width,
        recipe,
        seed=arguments.seed,
        console=PROGRESS,
    )
    if arguments.json:
        print(json.dumps({**asdict(trained), "folder": str(trained.folder)}))
    else:
        print(f"top-1 {trained.top1:.2f} %, top-5 error {trained.top5_error:.2f} %: {trained.path}")


def build(arguments: argparse.Namespace) -> None:
    """Quantize the checkpoint that benches would use, and say where the artifacts are."""
    chosen = variants.select(arguments.variants)
    dataset, width = network(arguments)
    checkpoint = training.find_or_train(dataset, arguments.architecture, width, console=PROGRESS)
    built = []
    for variant in chosen:
        missing = variant.missing()
        if missing and arguments.variants is None:
            print(f"{variant.name} skipped: {missing}", file=sys.stderr)
            continue
        with PROGRESS.status(f"building {variant.name}"):
            built.append(variants.build(variant, checkpoint, dataset))
    if arguments.json:
        records = [
            {"variant": one.variant.name, "folder": str(one.folder), "size_bytes": one.size_bytes}
            for one in built
        ]
        print(json.dumps(records))
        return
    for one in built:
        print(f"{one.variant.name:<18}{one.size_bytes / 1e6:8.2f} MB  {one.folder}")


def network(arguments: argparse.Namespace) -> tuple[Dataset, int]:
    """The data set and the width of a command, checked before anything long starts."""
    choice = data.choose(arguments.dataset)
    width = training.DEFAULT_WIDTH[choice.name] if arguments.width is None else arguments.width
    resnet.check(arguments.architecture, width)
    return data.load(choice.name), width


def show_report(arguments: argparse.Namespace) -> None:
    """Print a run as the study's table in Markdown, with the change against a baseline."""
    run = gate.read_run(arguments.run)
    if not run["benchmarks"]:
        raise UserError(f"run {arguments.run} holds no benchmark: run `pytest benches` to make one")
    first = run["benchmarks"][0]["extra_info"]
    path = arguments.baseline or gate.baseline_path(
        checkpoints.shipped_dir().parent,
        first["machine_class"],
        first["dataset"],
        first["architecture"],
        first["width"],
    )
    baseline = gate.read_baseline(path, first["machine_class"])
    if baseline is None and arguments.baseline:
        raise UserError(f"baseline {path} does not exist: name a stored run, or leave it out")
    summary = report.summarize(run, baseline.entries if baseline else {})
    against = f"change against `{path.name}` in parentheses" if baseline else "no baseline stored"
    print(f"## {first['architecture']}, width {first['width']}, {first['dataset']}\n")
    print(f"{first['machine_class']}, torch {first['versions']['torch']}, {against}.\n")
    print(report.markdown(summary))


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="qmodels", description="What quantizing a network costs and buys."
    )
    top.add_argument("--version", action="version", version=f"qmodels {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], example: str
    ) -> argparse.ArgumentParser:
        summary = (run.__doc__ or "").strip()
        sub = commands.add_parser(
            name, help=summary, description=summary, epilog=f"example: {example}"
        )
        sub.set_defaults(action=run)
        return sub

    def add_network(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--dataset", default="auto", help="auto, cifar100 or digits (default: %(default)s)"
        )
        sub.add_argument(
            "--architecture",
            default="resnet34",
            help=f"{' or '.join(resnet.ARCHITECTURES)} (default: %(default)s)",
        )
        sub.add_argument(
            "--width", type=int, help="channels of the stem (default: 8 for digits, else 16)"
        )

    sub = command("doctor", doctor, "qmodels doctor --json")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("variants", list_variants, "qmodels variants")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("train", train, "qmodels train --dataset cifar100 --width 16")
    add_network(sub)
    sub.add_argument(
        "--recipe",
        choices=tuple(training.RECIPES),
        help="default: by data set and device",
    )
    sub.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    sub.add_argument("--json", action="store_true", help="print the checkpoint's record as JSON")
    sub = command("build", build, "qmodels build --variants fp32,static-int8")
    add_network(sub)
    sub.add_argument("--variants", metavar="A,B,...", help="default: all that run here")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("report", show_report, "qmodels report run.json > report.md")
    sub.add_argument("run", type=Path, metavar="RUN.json", help="written by --benchmark-json")
    sub.add_argument("--baseline", type=Path, help="default: the stored run that fits")
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; exit with 2 and one line where the user has to mend something."""
    arguments = parser().parse_args(argv)
    try:
        arguments.action(arguments)
    except UserError as error:
        print(f"qmodels: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("qmodels: interrupted; what was finished is kept", file=sys.stderr)
        sys.exit(130)
