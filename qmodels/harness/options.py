"""The options of `pytest benches`, checked before anything is measured, and what they ask for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from qmodels import checkouts, checkpoints, data, gate, machine, resnet, training, variants
from qmodels.checkpoints import Checkpoint
from qmodels.child import Checkout
from qmodels.data import Choice
from qmodels.errors import Unavailable, UserError

# Wider networks take minutes for the whole test set on two cores.
WHOLE_TEST_SET_WIDTH = 16
IMAGES_OF_WIDE_NETWORKS = 2000


@dataclass(frozen=True)
class Settings:
    """What this run measures, from the command line.

    Attributes:
        checkpoint: the weights; None where they have to be trained first.
        variants: that were asked for, all by default.
        left_out: whether variants were named, so that others were left out.
        stops_early: whether accuracy ends where the answer is clear.
        base: the code that this one is held against, in turn.
        baselines: the folder of all stored runs.
        baseline: the stored run that fits, of this class or of the nearest one.
    """

    dataset: Choice
    architecture: str
    width: int
    checkpoint: Checkpoint | None
    variants: tuple[str, ...]
    left_out: bool
    threads: int
    accuracy_images: int | None
    stops_early: bool
    base: Checkout | None
    update_baseline: bool
    require_baseline: bool
    baselines: Path
    baseline: gate.Baseline | None
    tolerances: gate.Tolerances

    @property
    def network(self) -> str:
        """The network's name."""
        return gate.network_name(self.dataset.name, self.architecture, self.width)

    @property
    def baseline_path(self) -> Path:
        """Where a baseline of this machine's class is, or would be."""
        return gate.baseline_path(self.baselines, machine.machine_class(), self.network)


SETTINGS = pytest.StashKey[Settings]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Of pytest: our options."""
    group = parser.getgroup("qmodels", "qmodels: what quantizing a network costs and buys")
    group.addoption(
        "--qmodels-dataset",
        default="auto",
        metavar="auto|cifar100|digits",
        help="auto (the default): CIFAR-100 on disk or to be downloaded, else the digits",
    )
    group.addoption(
        "--qmodels-architecture",
        metavar="|".join(resnet.ARCHITECTURES),
        help="resnet34 by default",
    )
    group.addoption(
        "--qmodels-width", type=int, help="channels of the stem: 8 for digits, 16 for CIFAR-100"
    )
    group.addoption(
        "--qmodels-checkpoint",
        metavar="NAME|FILE",
        help="these weights, as `qmodels doctor` names them, instead of the shipped ones",
    )
    group.addoption("--qmodels-variants", metavar="A,B,...", help="only these variants")
    group.addoption(
        "--qmodels-threads", type=int, default=1, help="for latency and memory; 1 by default"
    )
    group.addoption(
        "--qmodels-accuracy-images",
        metavar="N|all",
        help="test images at most, fewer where those seen answer the question; by default all up "
        "to width 16, 2000 above",
    )
    group.addoption(
        "--qmodels-base",
        metavar="REVISION|FOLDER",
        help="hold latencies against this code, run in turn with it, instead of the stored run",
    )
    group.addoption(
        "--qmodels-update-baseline",
        action="store_true",
        help="accept: store this run as the baseline of this machine class",
    )
    group.addoption(
        "--qmodels-require-baseline",
        action="store_true",
        default=os.environ.get("CI", "").lower() not in ("", "0", "false", "no", "off"),
        help="fail where the baseline has no entry or a bench did not run; on where CI is set",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-benchmark reads --benchmark-compare
def pytest_configure(config: pytest.Config) -> None:
    """Of pytest: check the options, and find what they name."""
    if not runs_benches(config):
        return
    swallowed = config.option.benchmark_compare
    if isinstance(swallowed, str) and Path(swallowed).is_dir():
        raise pytest.UsageError(
            f"--benchmark-compare took {swallowed!r} for a run: put it after the paths"
        )
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if is_worker(config) and workers:
        # Threads of several processes that outnumber the cores starve one another.
        torch.set_num_threads(max(1, machine.physical_cores() // int(workers)))
    try:
        settings = read_settings(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SETTINGS] = settings
    if config.option.benchmark_compare is True:
        stored = settings.baseline_path
        config.option.benchmark_compare = str(stored) if stored.exists() else []


@contextmanager
def exit_on_user_error(config: pytest.Config) -> Iterator[None]:
    """Show progress while a fixture works, and end the session in one line where it can't."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            yield
    except Unavailable:
        raise
    except UserError as error:
        pytest.exit(f"qmodels: {error}", returncode=2)


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of the processes that pytest-xdist has started."""
    return hasattr(config, "workerinput")


def runs_benches(config: pytest.Config) -> bool:
    """Whether the paths of the command line lead to benches."""
    benches = config.rootpath / "benches"
    for argument in config.args:
        path = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        if path == benches or benches in path.parents or path in benches.parents:
            return True
    return False


def read_settings(config: pytest.Config) -> Settings:
    """Check the options, and find the baseline they ask for."""
    option = config.option
    checkpoint, dataset, architecture, width = chosen_network(option)
    if option.qmodels_threads < 1:
        raise UserError(f"--qmodels-threads {option.qmodels_threads}: choose 1 or more")
    if option.qmodels_update_baseline:
        check_update(config)
    baselines = config.rootpath / "baselines"
    network = gate.network_name(dataset.name, architecture, width)
    return Settings(
        dataset=dataset,
        architecture=architecture,
        width=width,
        checkpoint=checkpoint,
        variants=tuple(variant.name for variant in variants.select(option.qmodels_variants)),
        left_out=option.qmodels_variants is not None,
        threads=option.qmodels_threads,
        accuracy_images=accuracy_images(option.qmodels_accuracy_images, width),
        stops_early=option.qmodels_accuracy_images not in (None, "all"),
        base=checkouts.find(option.qmodels_base) if option.qmodels_base else None,
        update_baseline=option.qmodels_update_baseline,
        require_baseline=option.qmodels_require_baseline,
        baselines=baselines,
        baseline=stored_run(baselines, network, checkpoint),
        tolerances=gate.read_tolerances(baselines, variants.all_variants()),
    )


def chosen_network(option: Any) -> tuple[Checkpoint | None, Choice, str, int]:
    """The weights, where they are known, the data set, the architecture and the width.

    Raises:
        UserError: there are no such, or the named weights are of another network.
    """
    if option.qmodels_checkpoint is None:
        dataset = data.choose(option.qmodels_dataset)
        width = option.qmodels_width
        if width is None:
            width = training.DEFAULT_WIDTH[dataset.name]
        architecture = option.qmodels_architecture or resnet.ARCHITECTURES[0]
        resnet.check(architecture, width)
        return checkpoints.find(architecture, width, dataset.name), dataset, architecture, width
    named = checkpoints.named(option.qmodels_checkpoint)
    if named.quantization_aware:
        raise UserError(
            f"--qmodels-checkpoint {named.path.stem} is quantization-aware: name the float "
            "network that it was trained from"
        )
    for name, asked, has in (
        ("dataset", option.qmodels_dataset, named.dataset),
        ("width", option.qmodels_width, named.width),
        ("architecture", option.qmodels_architecture, named.architecture),
    ):
        if asked not in (None, "auto", has):
            raise UserError(
                f"--qmodels-{name} {asked} is not that of {named.path.stem}, {has}: leave it out"
            )
    return named, data.choose(named.dataset), named.architecture, named.width


def stored_run(
    baselines: Path, network: str, checkpoint: Checkpoint | None
) -> gate.Baseline | None:
    """The stored run that fits this machine: that of its processor, with that of its GPU."""
    digest = checkpoint.digest if checkpoint else None
    found = gate.find_baseline(baselines, machine.machine_class(), network, digest)
    gpu = machine.gpu_class()
    if gpu is None:
        return found
    of_gpu = gate.read_baseline(gate.baseline_path(baselines, gpu, network), gpu)
    return found.joined(of_gpu) if found else of_gpu


def check_update(config: pytest.Config) -> None:
    """Refuse to store what would be a poor baseline."""
    option = config.option
    for given, name in (
        (option.qmodels_base, "--qmodels-base"),
        (option.qmodels_accuracy_images not in (None, "all"), "--qmodels-accuracy-images"),
        (option.benchmark_disable, "--benchmark-disable"),
        (config.getoption("numprocesses", None), "-n"),
    ):
        if given:
            raise UserError(
                f"--qmodels-update-baseline stores whole runs of this code alone: leave out {name}"
            )


def accuracy_images(option: str | None, width: int) -> int | None:
    """How many test images to evaluate; None for all of them."""
    if option is None:
        return None if width <= WHOLE_TEST_SET_WIDTH else IMAGES_OF_WIDE_NETWORKS
    if option == "all":
        return None
    if not option.isdigit() or int(option) < 1:
        raise UserError(f"--qmodels-accuracy-images {option}: choose a number from 1, or all")
    return int(option)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Of pytest: what is measured, and held against what."""
    settings = config.stash.get(SETTINGS, None)
    if settings is None:
        return []
    weights = settings.checkpoint
    return [
        f"qmodels: {settings.dataset.name} ({settings.dataset.reason}), {settings.architecture} "
        f"width {settings.width}, {machine.machine_class()}, threads {settings.threads}",
        f"checkpoint: {weights.path.stem}, top-1 {weights.top1:.2f} %, {weights.digest}"
        if weights
        else "checkpoint: none yet, to be trained",
        f"baseline: {held_against(settings)}",
        f"latency: {latency_held_against(settings)}",
    ]


def held_against(settings: Settings) -> str:
    """What deterministic metrics are held against."""
    baseline = settings.baseline
    if settings.update_baseline:
        return f"this run becomes {gate.shown(settings.baseline_path)}"
    if settings.base:
        return f"what {settings.base.root} measures on this machine"
    if baseline is None:
        return f"nothing: no stored run of these weights fits {machine.machine_class()}"
    if of_this_class(baseline):
        return baseline.shown
    return (
        f"{baseline.shown}, the nearest class: as at home are float32 accuracy, int8 shares and "
        "sizes of portable files, and counts where both call the same kernels; int8 accuracy and "
        "SQNR by wider tolerances; memory and latency not"
    )


def of_this_class(baseline: gate.Baseline) -> bool:
    """Whether a stored run was made on a machine of this one's class."""
    return baseline.path.parent.name in (machine.machine_class(), machine.gpu_class())


def latency_held_against(settings: Settings) -> str:
    """Which rule latencies are judged by."""
    if settings.base:
        return f"held against {settings.base.root}, in turn"
    if settings.baseline is None or settings.update_baseline:
        return "held against nothing"
    if not of_this_class(settings.baseline):
        return "held against nothing: that of another class tells little (--qmodels-base compares)"
    if any(one.made.host == machine.host() for one in settings.baseline.entries.values()):
        return "held against the stored run of this host"
    return (
        "held against a stored run of another host, with wide tolerances (--qmodels-base has "
        "narrow ones)"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Of pytest: a bench for each variant, of those that its processor executes."""
    settings = metafunc.config.stash.get(SETTINGS, None)
    if "variant" not in metafunc.fixturenames or settings is None:
        return
    marker = metafunc.definition.get_closest_marker("processor")
    known = variants.all_variants()
    chosen = [
        name
        for name in settings.variants
        if marker is None or known[name].on_gpu == (marker.args[0] == "gpu")
    ]
    metafunc.parametrize("variant", chosen, indirect=True)
