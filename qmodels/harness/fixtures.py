"""What benches ask for: settings, data set, checkpoint, artifacts, fp32's logits, latencies."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from qmodels import checkouts, checkpoints, data, gate, training, variants
from qmodels.checkpoints import Checkpoint
from qmodels.child import HERE
from qmodels.data import Dataset, Split
from qmodels.errors import Unavailable, UserError
from qmodels.evaluation import predict
from qmodels.gate import processes
from qmodels.gate.processes import Limit, Timings
from qmodels.gate.sequential import Case, Rule
from qmodels.harness.options import SETTINGS, Settings, exit_on_user_error, is_worker
from qmodels.measure import ceiling
from qmodels.measure.latency import Side
from qmodels.resnet import random_images
from qmodels.runtimes import dispatch
from qmodels.variants import Artifact, Runnable, Variant


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    """The options of this run."""
    return pytestconfig.stash[SETTINGS]


@pytest.fixture(scope="session")
def dataset(pytestconfig: pytest.Config, settings: Settings) -> Dataset:
    """The data set that ``--qmodels-dataset`` names."""
    with exit_on_user_error(pytestconfig):
        return data.load(settings.dataset.name)


@pytest.fixture(scope="session")
def checkpoint(pytestconfig: pytest.Config, settings: Settings, dataset: Dataset) -> Checkpoint:
    """The trained weights: those that the header names, or trained now where that is quick."""
    if settings.checkpoint is not None:
        return settings.checkpoint
    with exit_on_user_error(pytestconfig):
        return training.find_or_train(
            dataset, settings.architecture, settings.width, console=Console(stderr=True)
        )


@pytest.fixture(scope="session")
def macs(checkpoint: Checkpoint) -> int:
    """Multiply-accumulates of the network for one image."""
    network = checkpoints.structure(replace(checkpoint, quantization_aware=False))
    return sum(kernel.macs for kernel in dispatch.kernels(network, random_images(1)))


@pytest.fixture(scope="session")
def build(
    pytestconfig: pytest.Config, checkpoint: Checkpoint, dataset: Dataset
) -> Callable[[str], Artifact]:
    """Build a variant by name, or find it in the cache; what failed once is not tried again.

    The errors are those of ``variants.build``. They fail the benches of that variant alone.
    """
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")
    known = variants.all_variants()

    @cache
    def tried(name: str) -> Artifact | UserError:
        try:
            with capture.global_and_fixture_disabled() if capture else nullcontext():
                return variants.build(
                    known[name], checkpoint, dataset, console=Console(stderr=True)
                )
        except UserError as error:
            return error

    def built(name: str) -> Artifact:
        found = tried(name)
        if isinstance(found, UserError):
            raise found
        return found

    return built


@pytest.fixture(scope="session")
def fp32(build: Callable[[str], Artifact]) -> Runnable:
    """The float model that ratios and drops are against."""
    return build("fp32").load()


@pytest.fixture(scope="session")
def evaluated(settings: Settings, dataset: Dataset) -> Split:
    """The test images that accuracy is measured on: all, or a stratified subset."""
    if settings.accuracy_images is None:
        return dataset.test
    return data.stratified_subset(dataset.test, min(settings.accuracy_images, len(dataset.test)))


@pytest.fixture(scope="session")
def reference(
    fp32: Runnable, dataset: Dataset, evaluated: Split
) -> Callable[[Variant, Tensor], Tensor]:
    """fp32's logits for the images that a variant's logits are of."""
    known = [torch.empty(0)]

    def of(variant: Variant, logits: Tensor) -> Tensor:
        if variant.name == "fp32":
            known[0] = logits
        elif len(known[0]) < len(logits):
            known[0] = predict(fp32, dataset, evaluated.first(len(logits)).images)
        return known[0][: len(logits)]

    return of


@pytest.fixture(scope="session")
def latencies(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    settings: Settings,
    build: Callable[[str], Artifact],
    checkpoint: Checkpoint,
    describe: Callable[..., dict[str, Any]],
    macs: int,
) -> Callable[[str, int], Timings]:
    """Latencies of all cases that this session asks for, measured together at the first call."""

    def asked() -> dict[Case, gate.Entry]:
        """The benches to come, without metrics, by case."""
        found = {}
        for item in request.session.items:
            if "latencies" not in getattr(item, "fixturenames", ()):
                continue
            assert isinstance(item, pytest.Function)
            parameters: Any = item.callspec.params
            name, size = parameters["variant"], parameters["batch_size"]
            variant = variants.all_variants()[name]
            if variant.missing():
                continue
            facts = describe(variant, item.originalname, batch_size=size, threads=settings.threads)
            found[name, size] = gate.entry(
                {
                    "fullname": item.nodeid,
                    "name": item.name,
                    "extra_info": {**facts, "metrics": {}},
                }
            )
        return found

    def rules(entries: dict[Case, gate.Entry], base: Side | None) -> dict[Case, Rule]:
        """How each case is judged, where there is something to hold it against."""
        found = {}
        for case, entry in entries.items():
            if base:
                rule = processes.rule_beside(entry.variant, entry.arithmetic, settings.tolerances)
            else:
                stored = None if settings.base else settings.baseline
                rule = processes.rule_stored(entry, stored, settings.tolerances)
            if rule is not None:
                found[case] = rule
        return found

    def limits(cases: Iterable[Case]) -> dict[Case, Limit]:
        """What shows how close each case comes to the machine's limit."""
        known = ceiling.limits()
        found = {}
        for name, size in cases:
            model = ceiling.name(variants.all_variants()[name].arithmetic)
            if model in known:
                found[name, size] = Limit(model, macs * size / ceiling.MACS)
        return found

    @cache
    def measured() -> dict[Case, Timings]:
        entries = asked()
        folders = {}
        for name in dict.fromkeys(["fp32", *(name for name, _ in entries)]):
            with suppress(UserError):  # fails the benches of that variant
                folders[name] = str(build(name).folder)
        head = Side(HERE, {"artifacts": folders})
        found: dict[Case, Timings] = {}
        with exit_on_user_error(pytestconfig), Console(stderr=True).status("latencies, in turn"):
            base_folders = {}
            if settings.base:
                base_folders = checkouts.build(settings.base, checkpoint, list(folders)).folders
            # What is new has no base.
            for known in (True, False):
                some = {
                    case: entry
                    for case, entry in entries.items()
                    if case[0] in folders and (case[0] in base_folders) == known
                }
                if not some:
                    continue
                base = None
                if settings.base and known:
                    base = Side(settings.base, {"artifacts": base_folders})
                found |= processes.measure(
                    list(some),
                    head,
                    base,
                    rules(some, base),
                    settings.threads,
                    limits=limits(some),
                    to_store=settings.update_baseline,
                )
        return found

    def of(name: str, batch_size: int) -> Timings:
        if pytestconfig.option.benchmark_disable:
            pytest.skip("latency is not measured under --benchmark-disable")
        if is_worker(pytestconfig):
            pytest.skip("latency can't share the machine: run it without -n")
        timings = measured()[name, batch_size]
        if timings.failure is not None:
            raise UserError(timings.failure)
        return timings

    return of


@pytest.fixture
def variant(request: pytest.FixtureRequest) -> Variant:
    """The variant under measurement; skips where this machine can't run it."""
    chosen = variants.all_variants()[request.param]
    missing = chosen.missing()
    if missing:
        pytest.skip(f"{chosen.name}: {missing}")
    return chosen


@pytest.fixture
def artifact(variant: Variant, build: Callable[[str], Artifact]) -> Artifact:
    """Its artifact, built where it is not in the cache."""
    try:
        return build(variant.name)
    except Unavailable as error:
        pytest.skip(str(error))
