"""What benches ask for: settings, data set, checkpoint, artifacts, fp32's logits, latencies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from qmodels.harness.options import SETTINGS, Settings, is_worker
from qmodels.measure import ceiling
from qmodels.measure.latency import Side
from qmodels.resnet import random_images
from qmodels.runtimes import dispatch
from qmodels.variants import Artifact, Runnable, Variant


@contextmanager
def users_to_mend(config: pytest.Config) -> Iterator[None]:
    """Show progress while a fixture works, and end the session in one line where it can't."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            yield
    except Unavailable:
        raise
    except UserError as error:
        pytest.exit(f"qmodels: {error}", returncode=2)


@pytest.fixture(scope="session")
def settings(pytestconfig: pytest.Config) -> Settings:
    """The options of this run."""
    return pytestconfig.stash[SETTINGS]


@pytest.fixture(scope="session")
def dataset(pytestconfig: pytest.Config, settings: Settings) -> Dataset:
    """The data set that ``--qmodels-dataset`` names."""
    with users_to_mend(pytestconfig):
        return data.load(settings.dataset.name)


@pytest.fixture(scope="session")
def checkpoint(pytestconfig: pytest.Config, settings: Settings, dataset: Dataset) -> Checkpoint:
    """The trained weights: from the cache, else shipped, else trained now where that is quick."""
    with users_to_mend(pytestconfig):
        if pytestconfig.option.qmodels_checkpoint:
            return checkpoints.named(pytestconfig.option.qmodels_checkpoint)
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
    """Build a variant by name, or find it in the cache."""

    @cache
    def built(name: str) -> Artifact:
        with users_to_mend(pytestconfig):
            return variants.build(
                variants.all_variants()[name], checkpoint, dataset, console=Console(stderr=True)
            )

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

    def asked() -> dict[Case, str]:
        """Node ids of the benches to come, by case."""
        found = {}
        for item in request.session.items:
            if "latencies" in getattr(item, "fixturenames", ()):
                parameters = item.callspec.params  # type: ignore[attr-defined]
                variant = variants.all_variants()[parameters["variant"]]
                if not variant.missing():
                    found[variant.name, parameters["batch_size"]] = item.nodeid
        return found

    def rules(nodes: dict[Case, str], base: Side | None) -> dict[Case, Rule]:
        """How each case is judged, where there is something to hold it against."""
        found = {}
        for (name, size), nodeid in nodes.items():
            if base:
                rule = processes.rule_beside(name, settings.tolerances)
            else:
                variant = variants.all_variants()[name]
                facts = describe(variant, batch_size=size, threads=settings.threads)
                now = gate.entry({**facts, "metrics": {}})
                rule = processes.rule_stored(nodeid, now, settings.baseline, settings.tolerances)
            if rule is not None:
                found[name, size] = rule
        return found

    def limits(nodes: dict[Case, str]) -> dict[Case, Limit]:
        """What shows how close each case comes to the machine's limit."""
        known = ceiling.limits()
        found = {}
        for name, size in nodes:
            model = ceiling.name(variants.all_variants()[name].arithmetic)
            if model in known:
                found[name, size] = Limit(model, macs * size / ceiling.MACS)
        return found

    @cache
    def measured() -> dict[Case, Timings]:
        nodes = asked()
        folders = {}
        for name in dict.fromkeys(["fp32", *(name for name, _ in nodes)]):
            with suppress(Unavailable):
                folders[name] = str(build(name).folder)
        head = Side(HERE, {"artifacts": folders})
        found: dict[Case, Timings] = {}
        with users_to_mend(pytestconfig), Console(stderr=True).status("latencies, in turn"):
            base_folders = {}
            if settings.base:
                base_folders = checkouts.build(settings.base, checkpoint, list(folders)).folders
            # What is new has no base, and is held against the stored run.
            for known in (True, False):
                some = {
                    case: node
                    for case, node in nodes.items()
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
