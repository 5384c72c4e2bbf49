"""Options of `pytest benches`, the header of a run, and a bench for each variant."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from qmodels import data, gate, network, report, variants
from qmodels.gate.run import times_path
from qmodels.harness.settings import Settings, read_settings
from qmodels.report.choice import MAX_DROP
from qmodels.system import machine, naming, repository, store
from qmodels.system.errors import UserError

SETTINGS = pytest.StashKey[Settings]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    group = parser.getgroup("qmodels", "qmodels: what quantizing a network costs and buys")
    group.addoption(
        "--qmodels-dataset",
        metavar="|".join(data.DATASETS),
        help=f"{naming.DATASET} by default; both come with the package",
    )
    group.addoption(
        "--qmodels-architecture",
        metavar="|".join(network.ARCHITECTURES),
        help=f"{naming.ARCHITECTURE} by default",
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
        help="so many test images, of all classes alike; by default all up to width 16, 2000 above",
    )
    group.addoption(
        "--qmodels-base",
        metavar="REVISION|FOLDER",
        help="compare with this code, run in turn with it, instead of the stored run",
    )
    group.addoption(
        "--qmodels-max-drop",
        type=float,
        default=MAX_DROP,
        metavar="POINTS",
        help="of top-1 that the recommended variant may lose; %(default)s by default",
    )
    group.addoption(
        "--qmodels-times",
        action="store_true",
        help="print pytest-benchmark's tables too, as --benchmark-compare does",
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
    """Check the options, and find what they name."""
    store.place_inductor_cache()
    if not runs_benches(config):
        return
    repository.forget_variables()  # pytest-benchmark asks git for the commit
    swallowed = config.option.benchmark_compare
    if isinstance(swallowed, str) and Path(swallowed).is_dir():
        raise pytest.UsageError(
            f"--benchmark-compare took {swallowed!r} for a run: put it after the paths"
        )
    record = config.option.benchmark_json
    if record and not Path(record).absolute().parent.is_dir():
        raise pytest.UsageError(f"--benchmark-json {record}: its folder does not exist: make it")
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if is_worker(config) and workers:
        # Threads of several processes that outnumber the cores starve one another.
        torch.set_num_threads(max(1, machine.physical_cores() // int(workers)))
    try:
        settings = read_settings(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SETTINGS] = settings
    config.option.benchmark_quiet |= not shows_times(config.option)
    if config.option.benchmark_compare is True:
        stored = times_path(settings.baseline_path)
        config.option.benchmark_compare = str(stored) if stored.exists() else []


def shows_times(option: Any) -> bool:
    """Whether something was asked for that pytest-benchmark prints, or makes while it prints."""
    asked = ("compare", "histogram", "save", "autosave", "cprofile")
    return option.qmodels_times or any(getattr(option, f"benchmark_{name}") for name in asked)


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of the processes that pytest-xdist has started."""
    return hasattr(config, "workerinput")


def runs_benches(config: pytest.Config) -> bool:
    """Whether the paths of the command line lead to benches."""
    benches = (config.rootpath / "benches").resolve()
    for argument in config.args:
        path = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        if path == benches or benches in path.parents or path in benches.parents:
            return True
    return False


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is measured, and what it is compared with."""
    settings = config.stash.get(SETTINGS, None)
    if settings is None:
        return []
    weights = settings.checkpoint
    lines = [
        f"qmodels: {settings.dataset}, {settings.architecture} width {settings.width}, "
        f"{machine.machine_class()}, {settings.threads} thread{'s'[: settings.threads > 1]}",
        f"checkpoint: {weights.path.stem}, top-1 {weights.top1:.2f} %"
        if weights
        else "checkpoint: none yet, will be trained",
        *compared_with(settings),
    ]
    return report.wrap(lines).splitlines()


def compared_with(settings: Settings) -> list[str]:
    """What this run is compared with, in lines."""
    baseline = settings.baseline
    if settings.update_baseline:
        path = gate.shown(settings.baseline_path)
        return [f"baseline: this run will be stored as {path}, and compared with nothing"]
    if settings.base:
        return [f"baseline: measured on this machine with the code in {settings.base.root}"]
    if baseline is None:
        return [f"baseline: none: no stored run of these weights fits {machine.machine_class()}"]
    here = machine.machine_class()
    files = dict.fromkeys(str(entry.file) for entry in baseline.entries.values())
    nearest = "" if here not in baseline.partial_for else ", the nearest machine class"
    lines = [f"baseline: {file}{nearest * (here not in Path(file).parts)}" for file in files]
    known = variants.all_variants()
    pairs: list[tuple[gate.Entry, gate.Entry]] = []
    for variant in (known[name] for name in settings.variants):
        stored = [entry for entry in baseline.entries.values() if entry.variant == variant.name]
        with suppress(Exception):  # whatever another package's backend raises, its bench reports
            if stored and variant.obstacle() is None:
                pairs += [(as_measured_here(variant, entry, settings), entry) for entry in stored]
    return lines + gate.coverage(pairs, settings.tolerances).lines()


def as_measured_here(
    variant: variants.Variant, stored: gate.Entry, settings: Settings
) -> gate.Entry:
    """The entry that this run will compare with a stored one, but for what it measures."""
    threads = stored.conditions["threads"]
    return replace(
        stored,
        machine_class=variant.backend.machine_class(),
        conditions={
            **stored.conditions,
            "engine": variant.engine,
            "runtime": variant.runtime(),
            "threads": threads if threads in ("all", 0) else settings.threads,
        },
        provenance=replace(
            stored.provenance,
            versions=machine.versions(),
            host=machine.host(),
            processor=machine.processor(),
        ),
        kernel_library=variant.backend.kernel_library_here(),
        int8_saturates=variant.probe().saturates,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a bench for each variant that the bench's processor executes."""
    settings = metafunc.config.stash.get(SETTINGS, None)
    if "qmodels_variant" not in metafunc.fixturenames or settings is None:
        return
    marker = metafunc.definition.get_closest_marker("qmodels_processor")
    known = variants.all_variants()
    chosen = [
        name
        for name in settings.variants
        if marker is None or known[name].on_gpu == (marker.args[0] == "gpu")
    ]
    metafunc.parametrize("qmodels_variant", chosen, indirect=True)
