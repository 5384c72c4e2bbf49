"""The command line: parse, call, print."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from qmodels import (
    __version__,
    checkpoints,
    data,
    engines,
    gate,
    machine,
    report,
    resnet,
    sensitivity,
    serving,
    store,
    training,
    variants,
)
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset, Split
from qmodels.errors import Unavailable, UserError
from qmodels.measure import layers
from qmodels.recipes import FINE_TUNING, RECIPES, Recipe
from qmodels.study import evaluate, picture, record
from qmodels.training import Job, tuning

PROGRESS = Console(stderr=True)
CLOSED_PIPE = 128 + 13  # as shells tell of SIGPIPE
# What training makes of a seed, a hundred thousand times as much, is one of torch's, of 64 bits.
MOST_SEED = 2**32 - 1
# Packages of the extras.
EXTRAS = ("torchao", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


def doctor(arguments: argparse.Namespace) -> None:
    """Show what this machine has and what would be used."""
    choice = data.choose("auto")
    known = variants.all_variants().values()
    found: dict[str, Any] = {
        "machine_class": machine.machine_class(),
        "cores": machine.physical_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "quantized_engine": machine.quantized_engine(),
        "engines": {
            engine: described(engine, {one.requires for one in known if one.engine == engine})
            for engine in dict.fromkeys(one.engine for one in known)
        },
        "dataset": choice.name,
        "dataset_reason": choice.reason,
        "cache_dir": str(store.cache_dir()),
        "data_dir": str(data.data_dir()),
        "checkpoints": [
            f"{one.dataset} {one.architecture} width {one.width}"
            f"{lineage(one)}: "
            f"top-1 {one.top1:.2f} % ({one.path})"
            for one in checkpoints.known()
        ],
        "missing": {
            name: reason
            for name, variant in variants.all_variants().items()
            if (reason := variant.missing())
        },
        "versions": machine.versions() | engines.versions(sorted(EXTRAS)),
    }
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        if name == "versions":
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, dict):
            value = "\n".join(f"{key}: {one}" for key, one in value.items()) or "none"
        elif isinstance(value, list):
            value = "\n".join(value) or "none"
        text = str(value).replace("\n", "\n" + " " * 18)
        print(f"{name.replace('_', ' '):<18}{text}")


def described(engine: str, requirements: set[tuple[str, ...]]) -> str:
    """What an engine said when it was asked, in some words.

    Args:
        requirements: packages that its variants need, one set of them each.
    """
    for modules in sorted(requirements, key=len):
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            return f"{', '.join(missing)} not installed"
        verdict = engines.ask(engine, modules)
        if verdict.broken:
            return f"does not work ({verdict.broken})"
    if verdict.saturates is None:
        return "works; no int8 convolution"
    return "works; int8 " + (
        "saturates at full range: weights get seven bits" if verdict.saturates else "is exact"
    )


def lineage(one: Checkpoint) -> str:
    """How a checkpoint differs from one that was trained from scratch."""
    if one.quantization_aware:
        return ", quantization-aware"
    return ", fine-tuned" if one.parent else ""


def list_variants(arguments: argparse.Namespace) -> None:
    """Show every variant, its engine, and whether it runs here."""
    known = variants.all_variants().values()
    if arguments.json:
        records = [
            {
                "name": one.name,
                "engine": one.engine,
                "summary": one.summary,
                "extra": one.extra,
                "missing": one.missing(),
            }
            for one in known
        ]
        print(json.dumps(records))
        return
    table = Table("variant", "engine", "extra", "what it does", "here")
    for one in known:
        table.add_row(one.name, one.engine, one.extra or "", one.summary, one.missing() or "yes")
    Console().print(table)


def rank_layers(arguments: argparse.Namespace) -> None:
    """Rank layers by the loss that each causes when it is quantized alone.

    In reference arithmetic, on images of the training split; needs no int8 kernels.
    """
    dataset, checkpoint = trained_network(arguments)
    check_images(arguments.images, dataset.train)
    chosen = data.stratified_subset(dataset.train, arguments.images)
    with PROGRESS.status("observing") as status:
        layers = sensitivity.rank(
            checkpoints.load_model(checkpoint),
            dataset.normalize(chosen.images),
            progress=lambda name: status.update(f"quantizing {name} alone"),
        )
    if arguments.json:
        print(json.dumps([asdict(layer) for layer in layers]))
        return
    rows = [["Layer", "Weights", "Loss (mnat)", "SQNR (dB)", "Changed (%)"]]
    rows += [
        [
            one.name,
            f"{one.weights}",
            f"{1e3 * one.loss:.3f}",
            f"{one.sqnr_db:.1f}",
            f"{100 * one.changed:.1f}",
        ]
        for one in layers
    ]
    print(report.aligned(rows))


def check_images(count: int, split: Split) -> None:
    """Refuse to take no images of a split, or more than it has."""
    if not 1 <= count <= len(split):
        raise UserError(f"--images {count}: choose from 1 to {len(split)}")


def show_noise(arguments: argparse.Namespace) -> None:
    """Show what quantization and the runtime cost, layer by layer.

    SQNR of each layer's output: against the float network, and of the runtime against the same
    quantized network in reference arithmetic.
    """
    dataset, checkpoint = trained_network(arguments)
    variant, *others = variants.select(arguments.variant)
    if others:
        raise UserError(f"{arguments.variant} are {1 + len(others)} variants: choose one of them")
    check_images(arguments.images, dataset.test)
    artifact = variants.build(variant, checkpoint, dataset, console=PROGRESS)
    found = layers.noise(
        artifact,
        checkpoints.load_model(checkpoint),
        dataset.normalize(dataset.test.first(arguments.images).images),
    )
    if arguments.json:
        print(json.dumps([asdict(one) for one in found]))
        return
    rows = [["Layer", "Quantization (dB)", "Runtime (dB)"]]
    rows += [[one.layer, f"{one.quantization_db:.1f}", f"{one.runtime_db:.1f}"] for one in found]
    print(report.aligned(rows))


def study(arguments: argparse.Namespace) -> None:
    """Measure how often the latency gate is wrong here, and what it misses.

    It records pairs of processes of the same code and of slowed code, and tries the gate's rules
    on them, and those of pytest-benchmark. Killed, the same command goes on.
    """
    dataset, checkpoint = trained_network(arguments)
    artifacts = {
        variant.name: variants.build(variant, checkpoint, dataset, console=PROGRESS)
        for variant in variants.select(arguments.variants)
    }
    if "fp32" not in artifacts:
        raise UserError("--variants has no fp32, which the others are held against: add it")
    rows = record.record(
        artifacts, arguments.file, arguments.pairs, busy=arguments.busy, console=PROGRESS
    )
    rates = evaluate.rates(rows, tolerances(), console=PROGRESS)
    print(evaluate.table(rates))
    picture.draw(rates, arguments.file.with_suffix(".svg"))


def train(arguments: argparse.Namespace) -> None:
    """Train a network into the cache; killed, the same command goes on from the last epoch."""
    if not 0 <= arguments.seed <= MOST_SEED:
        raise UserError(f"--seed {arguments.seed}: choose from 0 to {MOST_SEED}")
    job = fine_tuning(arguments) if arguments.qat or arguments.parent else scratch(arguments)
    trained = training.train(job, console=PROGRESS)
    if silent():
        return
    if arguments.json:
        print(json.dumps({**asdict(trained), "folder": str(trained.folder)}))
    else:
        print(f"top-1 {trained.top1:.2f} %, top-5 error {trained.top5_error:.2f} %: {trained.path}")


def silent() -> bool:
    """Whether another of the processes that torchrun started does the printing."""
    return os.environ.get("RANK", "0") != "0"


def scratch(arguments: argparse.Namespace) -> Job:
    """Training from random weights."""
    dataset, width = network(arguments)
    recipe = choose_recipe(arguments, RECIPES, training.recipe_for(dataset.name))
    return Job(dataset, arguments.architecture, width, recipe, arguments.seed)


def fine_tuning(arguments: argparse.Namespace) -> Job:
    """Training from a checkpoint: the one named, else the one that benches would use."""
    if arguments.parent:
        parent = checkpoints.named(arguments.parent)
        for option in ("dataset", "architecture", "width"):
            asked, has = getattr(arguments, option), getattr(parent, option)
            if asked not in (None, "auto", has):
                raise UserError(
                    f"--{option} {asked} is not that of {parent.file}, {has}: leave it out"
                )
        dataset = data.load(parent.dataset)
    else:
        dataset, width = network(arguments)
        architecture = arguments.architecture or resnet.ARCHITECTURES[0]
        parent = training.find_or_train(dataset, architecture, width, console=PROGRESS)
    if parent.quantization_aware:
        raise UserError(f"{parent.file} is quantized already: start from its fp32 checkpoint")
    return Job(
        dataset,
        parent.architecture,
        parent.width,
        choose_recipe(arguments, FINE_TUNING, FINE_TUNING["fine-tune"]),
        arguments.seed,
        parent=parent,
        quantization_aware=arguments.qat,
    )


def choose_recipe(
    arguments: argparse.Namespace, possible: dict[str, Recipe], default: Recipe
) -> Recipe:
    """The recipe that was named, for as many epochs as were asked for."""
    recipe = default
    if arguments.recipe:
        if arguments.recipe not in possible:
            raise UserError(
                f"recipe {arguments.recipe!r} is not for this: choose from {', '.join(possible)}"
            )
        recipe = possible[arguments.recipe]
    return recipe if arguments.epochs is None else recipe.lasting(arguments.epochs)


def tune(arguments: argparse.Namespace) -> None:
    """Train with and without each ingredient of a recipe, on 9/10 of the training split.

    Accuracy is of the tenth; the test split is not looked at.
    """
    dataset, width = network(arguments)
    recipe = choose_recipe(arguments, RECIPES, training.recipe_for(dataset.name))
    names = [name.strip() for name in arguments.ingredients.split(",")]
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: choose 1 or more")
    found = tuning.effects(
        dataset, arguments.architecture, width, recipe, names, arguments.seeds, console=PROGRESS
    )
    if silent():
        return
    if arguments.json:
        print(json.dumps([asdict(effect) for effect in found]))
    else:
        print(tuning.table(found))


def build(arguments: argparse.Namespace) -> int:
    """Quantize the checkpoint that benches would use, and say where the artifacts are.

    Exit status: 0, or 2 where a variant could not be built; the others are built all the same.
    """
    chosen = variants.select(arguments.variants)
    dataset, checkpoint = trained_network(arguments)
    built, status = [], 0
    for variant in chosen:
        missing = variant.missing()
        if missing and arguments.variants is None:
            print(f"{variant.name} skipped: {missing}", file=sys.stderr)
            continue
        PROGRESS.print(f"building {variant.name}")
        try:
            built.append(variants.build(variant, checkpoint, dataset, console=PROGRESS))
        except Unavailable as error:
            if arguments.variants is not None:
                raise
            print(f"{variant.name} skipped: {error}", file=sys.stderr)
        except UserError as error:
            print(f"qmodels: {error}", file=sys.stderr)
            status = 2
    if arguments.json:
        records = [
            {"variant": one.variant.name, "folder": str(one.folder), "size_bytes": one.size_bytes}
            for one in built
        ]
        print(json.dumps(records))
        return status
    for one in built:
        print(f"{one.variant.name:<18}{one.size_bytes / 1e6:8.2f} MB  {one.folder}")
    return status


def network(arguments: argparse.Namespace) -> tuple[Dataset, int]:
    """The data set and the width of a command, checked before anything long starts."""
    choice = data.choose(arguments.dataset)
    width = training.DEFAULT_WIDTH[choice.name] if arguments.width is None else arguments.width
    resnet.check(arguments.architecture, width)
    return data.load(choice.name), width


def trained_network(arguments: argparse.Namespace) -> tuple[Dataset, Checkpoint]:
    """The data set and the weights of a command: those named, else those that benches would use."""
    if arguments.checkpoint is None:
        dataset, width = network(arguments)
        return dataset, training.find_or_train(
            dataset, arguments.architecture, width, console=PROGRESS
        )
    named = checkpoints.named(arguments.checkpoint)
    if named.quantization_aware:
        raise UserError(f"--checkpoint {named.path.stem} is quantized already: name its float one")
    return data.load(named.dataset), named


def show_baseline(arguments: argparse.Namespace) -> None:
    """Show a baseline: who made it, and a line for each metric."""
    if arguments.file is None:
        choice = data.choose(arguments.dataset)
        width = training.DEFAULT_WIDTH[choice.name] if arguments.width is None else arguments.width
        name = gate.network_name(choice.name, arguments.architecture, width)
        path = gate.baseline_path(baselines(), machine.machine_class(), name)
    else:
        path = arguments.file
    print(report.stored(stored_run(path), tolerances()))


def diff_baseline(arguments: argparse.Namespace) -> int:
    """Show what a run would change in the baseline.

    Exit status: 0, or 1 where a metric regressed, 3 where one is missing or undecided.
    """
    run = measured_run(arguments)
    found = report.findings(run, baseline_of(run, arguments.baseline), tolerances())
    for finding in found:
        if finding.verdict != "ok":
            print(finding.line)
    print(report.counted(found))
    return report.status(found)


def accept_baseline(arguments: argparse.Namespace) -> None:
    """Store in the baseline what a run changes: the benchmarks that are not within tolerance."""
    run = measured_run(arguments)
    found = report.findings(run, baseline_of(run, arguments.baseline), tolerances())
    every = gate.entries_of(run)
    chosen = set(every) if arguments.all else {one.key for one in found if one.verdict != "ok"}
    if not chosen:
        print("nothing to accept: every metric is within its tolerance")
        return
    if arguments.baseline:
        some = [one for one in run["benchmarks"] if gate.entry(one).key in chosen]
        files = [gate.accept_into(arguments.baseline, some)]
    else:
        files = gate.accept(baselines(), run, only=chosen)
    for one in files:
        for key in one.stored:
            print(f"accepted {every[key].name}")
        for line in one.refused:
            print(line)
        print(f"{one.path}: {len(one.stored)} accepted, {one.kept} kept")


def baselines() -> Path:
    """The folder of the baselines."""
    return checkpoints.shipped_dir().parent


def tolerances() -> gate.Tolerances:
    """The tolerances in force."""
    return gate.read_tolerances(baselines(), variants.all_variants())


def stored_run(path: Path, machine_class: str | None = None) -> gate.Baseline:
    """A baseline that has to be there."""
    baseline = gate.read_baseline(path, machine_class)
    if baseline is None:
        raise UserError(
            f"baseline {path} does not exist: name a stored run, or make one with "
            "`pytest benches --qmodels-update-baseline`"
        )
    return baseline


def measured_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The run that a command names; it holds a benchmark at least."""
    run = gate.read_run(arguments.run)
    if not run["benchmarks"]:
        raise UserError(f"run {arguments.run} holds no benchmark: run `pytest benches` to make one")
    return run


def baseline_of(run: Mapping[str, Any], named: Path | None) -> gate.Baseline | None:
    """The baseline that was named, or else the stored one that the harness would use for a run."""
    if named:
        return stored_run(named)
    found: gate.Baseline | None = None
    for one in gate.entries_of(run).values():
        if found is None or one.key not in found.entries:
            checkpoint = one.conditions["checkpoint"]
            more = gate.find_baseline(baselines(), one.machine_class, one.key.network, checkpoint)
            found = found.joined(more) if found else more
    return found


def show_report(arguments: argparse.Namespace) -> int:
    """Print a run as the study's table in Markdown, with the change against a baseline.

    Exit status: 0, or 1 where a metric regressed, 3 where one is missing or undecided.
    """
    run = measured_run(arguments)
    baseline = baseline_of(run, arguments.baseline)
    first = run["benchmarks"][0]["extra_info"]
    summary = report.summarize(run, baseline.entries if baseline else {})
    against = (
        f"change against `{baseline.path.parent.name}/{baseline.path.name}` in parentheses"
        if baseline
        else "no baseline stored"
    )
    print(f"## {first['architecture']}, width {first['width']}, {first['dataset']}\n")
    print(f"{first['machine_class']}, torch {first['versions']['torch']}, {against}.\n")
    print(report.markdown(summary))
    speeds = report.speed_table(run)
    if speeds:
        print(f"\n{speeds}")
    found = report.findings(run, baseline, tolerances())
    print(f"\ngate: {report.counted(found)}")
    for finding in found:
        if finding.verdict != "ok":
            print(f"- {finding.line}")
    return report.status(found)


def serve(arguments: argparse.Namespace) -> None:
    """Answer another state of this code, in lines of JSON."""
    serving.main()


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="qmodels", description="What quantizing a network costs and buys."
    )
    top.add_argument("--version", action="version", version=f"qmodels {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int | None],
        example: str,
        among: Any = commands,
    ) -> argparse.ArgumentParser:
        summary = (run.__doc__ or "").strip()
        sub: argparse.ArgumentParser = among.add_parser(
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

    def add_checkpoint(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--checkpoint",
            metavar="NAME|FILE",
            help="these weights, as `qmodels doctor` names them (default: the shipped ones)",
        )

    def add_recipe(sub: argparse.ArgumentParser, names: str) -> None:
        sub.add_argument("--recipe", help=f"{names} (default: by data set and device)")
        sub.add_argument("--epochs", type=int, help="stretch or shorten the recipe")

    sub = command("doctor", doctor, "qmodels doctor --json")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("variants", list_variants, "qmodels variants")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("train", train, "qmodels train --dataset cifar100 --width 16")
    add_network(sub)
    add_recipe(sub, f"{', '.join(RECIPES)}; with --qat or --from {', '.join(FINE_TUNING)}")
    sub.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    sub.add_argument("--qat", action="store_true", help="quantization-aware, from a checkpoint")
    sub.add_argument(
        "--from",
        dest="parent",
        metavar="CHECKPOINT",
        help="start from this one, as `qmodels doctor` names it; default with --qat: the one "
        "that benches use. Without --qat: the control, in float",
    )
    sub.add_argument("--json", action="store_true", help="print the checkpoint's record as JSON")
    sub = command("tune", tune, "qmodels tune --recipe compact-cpu --epochs 6 --seeds 2")
    add_network(sub)
    add_recipe(sub, ", ".join(RECIPES))
    sub.add_argument(
        "--ingredients",
        metavar="A,B,...",
        default="schedule,label-smoothing,cutmix,averaging",
        help=f"of {', '.join(tuning.INGREDIENTS)} (default: %(default)s)",
    )
    sub.add_argument("--seeds", type=int, default=2, help="default: %(default)s")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("sensitivity", rank_layers, "qmodels sensitivity --dataset cifar100")
    add_network(sub)
    add_checkpoint(sub)
    sub.add_argument("--images", type=int, default=500, help="default: %(default)s")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("layers", show_noise, "qmodels layers static-int8-jit")
    sub.add_argument("variant", help="one of TorchScript or ONNX, quantized")
    add_network(sub)
    add_checkpoint(sub)
    sub.add_argument("--images", type=int, default=100, help="default: %(default)s")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("study", study, "qmodels study quiet.csv --pairs 400")
    sub.add_argument("file", type=Path, metavar="FILE.csv", help="what is recorded; it grows")
    add_network(sub)
    add_checkpoint(sub)
    sub.add_argument("--variants", metavar="A,B,...", help="default: all; fp32 among them")
    sub.add_argument("--pairs", type=int, default=400, help="of processes (default: %(default)s)")
    sub.add_argument("--busy", action="store_true", help="another process loads a core on and off")
    sub = command("build", build, "qmodels build --variants fp32,static-int8")
    add_network(sub)
    add_checkpoint(sub)
    sub.add_argument("--variants", metavar="A,B,...", help="default: all that run here")
    sub.add_argument("--json", action="store_true", help="print JSON")
    nested = commands.add_parser(
        "baseline", help="Show baselines, and accept changes of them."
    ).add_subparsers(required=True, metavar="COMMAND")
    sub = command("show", show_baseline, "qmodels baseline show", nested)
    add_network(sub)
    sub.add_argument("file", type=Path, nargs="?", help="default: the one that benches would use")
    for name, action in (("diff", diff_baseline), ("accept", accept_baseline)):
        sub = command(name, action, f"qmodels baseline {name} run.json", nested)
        sub.add_argument("run", type=Path, metavar="RUN.json", help="written by --benchmark-json")
        sub.add_argument("--baseline", type=Path, help="default: the stored run that fits")
    sub.add_argument("--all", action="store_true", help="accept what is within tolerance too")
    sub = command("report", show_report, "qmodels report run.json > report.md")
    sub.add_argument("run", type=Path, metavar="RUN.json", help="written by --benchmark-json")
    sub.add_argument("--baseline", type=Path, help="default: the stored run that fits")
    # Without help it is not listed: nobody types it.
    commands.add_parser("serve", description=serve.__doc__).set_defaults(action=serve)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command.

    Exit status: what the command says; 2 and one line where the user has to mend something.
    """
    arguments = parser().parse_args(argv)
    try:
        status = arguments.action(arguments)
        sys.stdout.flush()
    except UserError as error:
        print(f"qmodels: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(CLOSED_PIPE)
    except KeyboardInterrupt:
        print("qmodels: interrupted; what was finished is kept", file=sys.stderr)
        sys.exit(130)
    if status:
        sys.exit(status)
