"""Settings of a run of the benches: the command line's options, checked."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qmodels import data, gate, network, variants
from qmodels.base import checkouts
from qmodels.base.checkouts import Base
from qmodels.network import Network, open_network
from qmodels.system import defaults, files, machine
from qmodels.system.checkout import THIS_CHECKOUT
from qmodels.system.errors import UserError
from qmodels.training import checkpoints, networks
from qmodels.training.networks import Untrained


@dataclass(frozen=True)
class Settings:
    """The settings of a run for one network, from the command line.

    Attributes:
        left_out: whether variants were named, so that others were left out.
        untimed: whether pytest-benchmark is to time nothing.
        recompute: whether all logits are computed, and none taken from earlier runs.
        max_drop: what the recommended variant may lose; see ``report.choose``.
        base: another state of the code under test, which this one is compared with.
        root: pytest's root directory.
        baselines: the folder of all stored runs, in it.
        baseline: the stored runs that fit, of this class or of the nearest ones.
    """

    network: Network | Untrained
    variants: tuple[str, ...]
    left_out: bool
    threads: int
    untimed: bool
    recompute: bool
    max_drop: float
    accuracy_images: int | None
    base: Base | None
    update_baseline: bool
    require_baseline: bool
    root: Path
    baselines: Path
    baseline: gate.Baseline | None
    tolerances: gate.Tolerances

    @property
    def baseline_path(self) -> Path:
        """Where a baseline of this machine's class is, or would be."""
        return gate.baseline_path(self.baselines, machine.machine_class(), self.network.name)


def read_settings(config: pytest.Config) -> list[Settings]:
    """Check the options, and find the networks and the baselines they ask for."""
    _check_options(config)
    networks = _chosen_networks(config)
    names = [network.name for network in networks]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"qmodels_networks has {names.count(name)} networks {name}: give each its own name"
            )
    return [_settings_of(network, config) for network in networks]


def _check_options(config: pytest.Config) -> None:
    option = config.option
    if not hasattr(option, "benchmark_compare"):
        raise UserError("benches need pytest-benchmark: leave out -p no:benchmark")
    if isinstance(option.benchmark_compare, str) and Path(option.benchmark_compare).is_dir():
        raise UserError(
            f"--benchmark-compare took {option.benchmark_compare!r} for a run: put it after the "
            "paths"
        )
    _check_outputs(config)
    machine.check_threads("--qmodels-threads", option.qmodels_threads)
    if not math.isfinite(option.qmodels_max_drop):
        raise UserError(f"--qmodels-max-drop {option.qmodels_max_drop}: choose a number of points")
    if _is_untimed(config):
        for name in ("histogram", "cprofile", "cprofile_dump", "compare_fail"):
            if getattr(option, f"benchmark_{name}", None):
                raise UserError(
                    f"--benchmark-{name.replace('_', '-')} is of times, which --benchmark-disable "
                    "leaves out: leave out one of them"
                )
    if option.qmodels_update_baseline:
        _check_update(config)


def _check_outputs(config: pytest.Config) -> None:
    """Refuse files that could not be written when the run ends."""
    option = config.option
    record, storage = option.benchmark_json, option.benchmark_storage.removeprefix("file://")
    if record and not Path(record).absolute().parent.is_dir():
        raise UserError(f"--benchmark-json {record}: its folder does not exist: make it")
    if record and not files.may_write(Path(record)):
        raise UserError(f"--benchmark-json {record} can't be written: choose another file")
    saves = (option.benchmark_save or option.benchmark_autosave) and "://" not in storage
    if saves and not files.may_write(Path(storage, "run.json")):
        raise UserError(f"--benchmark-storage {storage} can't be written: choose another folder")


def _settings_of(chosen: Network | Untrained, config: pytest.Config) -> Settings:
    option = config.option
    baselines = config.rootpath / config.getini("qmodels_baselines")
    return Settings(
        network=chosen,
        variants=tuple(variant.name for variant in variants.select(option.qmodels_variants)),
        left_out=option.qmodels_variants is not None,
        threads=option.qmodels_threads,
        untimed=_is_untimed(config),
        recompute=_recomputes(option),
        max_drop=option.qmodels_max_drop,
        accuracy_images=_accuracy_images(option.qmodels_accuracy_images, chosen),
        base=_find_base(config, chosen),
        update_baseline=option.qmodels_update_baseline,
        require_baseline=option.qmodels_require_baseline,
        root=config.rootpath,
        baselines=baselines,
        baseline=_stored_run(baselines, chosen.name),
        tolerances=gate.read_tolerances(baselines, variants.all_variants()),
    )


def _find_base(config: pytest.Config, network: Network | Untrained) -> Base | None:
    """The base that the options name: of qmodels, or of the repository that gives the network."""
    name, python = config.option.qmodels_base, config.option.qmodels_base_python
    if name is None and python is None:
        return None
    for option, value in (("--qmodels-base", name), ("--qmodels-base-python", python)):
        if option in config.invocation_params.args and Path(value).exists():
            raise UserError(
                f"{option} {value}: pytest takes it for a folder of tests too: write "
                f"{option}={value}"
            )
    root = THIS_CHECKOUT.root if network.call.is_packaged else config.rootpath
    return checkouts.find(name, python, root, network.call.function.partition(":")[0])


def _chosen_networks(config: pytest.Config) -> Sequence[Network | Untrained]:
    """The network that the options name, else those of the ini-file, else the packaged one."""
    option = config.option
    packaged = [
        f"--qmodels-{name}"
        for name in ("dataset", "architecture", "width", "checkpoint")
        if getattr(option, f"qmodels_{name}") is not None
    ]
    functions = config.getini("qmodels_networks")
    if option.qmodels_network is not None:
        functions = [option.qmodels_network]
        if packaged:
            raise UserError(f"{packaged[0]} is of packaged networks: leave out --qmodels-network")
    if packaged or not functions:
        return [_packaged_network(option)]
    # The last place that is looked at: pytest adds the folders of tests when it collects them.
    if str(config.rootpath) not in sys.path:
        sys.path.append(str(config.rootpath))
    return [open_network(function) for function in functions]


def _packaged_network(option: Any) -> Network | Untrained:
    if option.qmodels_checkpoint is None:
        dataset = data.check(option.qmodels_dataset or defaults.DATASET)
        width = option.qmodels_width
        if width is None:
            width = defaults.WIDTHS[dataset]
        architecture = option.qmodels_architecture or defaults.ARCHITECTURE
        network.check(architecture, width)
        usual = checkpoints.find(architecture, width, dataset)
        return networks.of_checkpoint(usual) if usual else Untrained(dataset, architecture, width)
    named = checkpoints.resolve(option.qmodels_checkpoint)
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
        if asked not in (None, has):
            raise UserError(
                f"--qmodels-{name} {asked} is not that of {named.path.stem}, {has}: leave it out"
            )
    return networks.of_checkpoint(named)


def _stored_run(folder: Path, network: str) -> gate.Baseline | None:
    classes = [machine.machine_class(), machine.gpu_class()]
    return gate.find_baseline(folder, [name for name in classes if name], network)


def stored_by_base(settings: Settings) -> Mapping[gate.Key, gate.Entry] | None:
    """Stored entries of the base; None without a base, or where its files have another format."""
    if settings.base is None:
        return None
    try:
        folder = settings.base.code.root / os.path.relpath(settings.baselines, settings.root)
        run = _stored_run(folder, settings.network.name)
    except UserError:
        return None
    return run.entries if run else {}


def _check_update(config: pytest.Config) -> None:
    """Refuse to store what would be a poor baseline."""
    option = config.option
    for given, name in (
        (option.qmodels_base, "--qmodels-base"),
        (option.qmodels_base_python, "--qmodels-base-python"),
        (option.qmodels_accuracy_images not in (None, "all"), "--qmodels-accuracy-images"),
        (_is_untimed(config), "--benchmark-disable"),
    ):
        if given:
            raise UserError(
                f"--qmodels-update-baseline stores whole runs of this code alone: leave out {name}"
            )


def _is_untimed(config: pytest.Config) -> bool:
    return bool(config.option.benchmark_disable and not config.option.benchmark_enable)


def _recomputes(option: Any) -> bool:
    """Whether all logits are computed: where asked for, and where a run or its times are kept."""
    keeping = ("json", "save", "autosave", "histogram", "compare_fail")
    asked = option.qmodels_recompute or option.qmodels_update_baseline
    return bool(asked or any(getattr(option, f"benchmark_{name}") for name in keeping))


def _accuracy_images(option: str | None, network: Network | Untrained) -> int | None:
    if option is None:
        return network.accuracy_images
    if option == "all":
        return None
    if not option.isdigit() or int(option) < 1:
        raise UserError(f"--qmodels-accuracy-images {option}: choose a number from 1, or all")
    return int(option)
