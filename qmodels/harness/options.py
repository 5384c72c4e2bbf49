"""The options of `pytest benches`, checked before anything is measured, and what they ask for."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from qmodels import checkouts, data, gate, machine, resnet, training, variants
from qmodels.child import Checkout
from qmodels.data import Choice
from qmodels.errors import UserError

# Wider networks take minutes for the whole test set on two cores.
WHOLE_TEST_SET_WIDTH = 16
IMAGES_OF_WIDE_NETWORKS = 2000


@dataclass(frozen=True)
class Settings:
    """What this run measures, from the command line."""

    dataset: Choice
    architecture: str
    width: int
    variants: tuple[str, ...]
    threads: int
    accuracy_images: int | None
    stops_early: bool
    base: Checkout | None
    update_baseline: bool
    require_baseline: bool
    baseline_path: Path
    baseline: gate.Baseline | None
    tolerances: gate.Tolerances


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
        default="resnet34",
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
        default=bool(os.environ.get("CI")),
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
    dataset = data.choose(option.qmodels_dataset)
    width = option.qmodels_width
    if width is None:
        width = training.DEFAULT_WIDTH[dataset.name]
    resnet.check(option.qmodels_architecture, width)
    if option.qmodels_threads < 1:
        raise UserError(f"--qmodels-threads {option.qmodels_threads}: choose 1 or more")
    if option.qmodels_update_baseline:
        check_update(config)
    baselines = config.rootpath / "baselines"
    path = gate.baseline_path(
        baselines, machine.machine_class(), dataset.name, option.qmodels_architecture, width
    )
    return Settings(
        dataset=dataset,
        architecture=option.qmodels_architecture,
        width=width,
        variants=tuple(variant.name for variant in variants.select(option.qmodels_variants)),
        threads=option.qmodels_threads,
        accuracy_images=accuracy_images(option.qmodels_accuracy_images, width),
        stops_early=option.qmodels_accuracy_images not in (None, "all"),
        base=checkouts.find(option.qmodels_base) if option.qmodels_base else None,
        update_baseline=option.qmodels_update_baseline,
        require_baseline=option.qmodels_require_baseline,
        baseline_path=path,
        baseline=gate.read_baseline(path, machine.machine_class()),
        tolerances=gate.read_tolerances(baselines, variants.all_variants()),
    )


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
    stored = settings.baseline_path.relative_to(config.rootpath)
    return [
        f"qmodels: {settings.dataset.name} ({settings.dataset.reason}), {settings.architecture} "
        f"width {settings.width}, {machine.machine_class()}, threads {settings.threads}",
        f"baseline: {stored}" if settings.baseline else f"baseline: none yet in {stored}",
        f"latency: held against {held_against(settings)}",
    ]


def held_against(settings: Settings) -> str:
    """Which rule latencies are judged by."""
    if settings.base:
        return f"{settings.base.root}, in turn"
    if settings.baseline is None or settings.update_baseline:
        return "nothing"
    here = any(one.made.host == machine.host() for one in settings.baseline.entries.values())
    if here:
        return "the stored run of this host"
    return "a stored run of another host, with wide tolerances (--qmodels-base has narrow ones)"


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
