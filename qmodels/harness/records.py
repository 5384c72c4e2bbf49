"""The record of each benchmark: what was measured, under what, by whom, and what the gate says."""

import json
from collections.abc import Callable, Generator
from dataclasses import astuple, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from torch import Tensor

from qmodels import checkouts, checkpoints, engines, gate, machine
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset, Split
from qmodels.errors import UserError
from qmodels.evaluation import EVALUATION_BATCH
from qmodels.evaluation import ranks as ranks_of
from qmodels.gate.ranks import collect, flips, least_visible
from qmodels.gate.ranks import settled as settled_by
from qmodels.harness.options import Settings, exit_on_user_error
from qmodels.measure import accuracy
from qmodels.metric import Metric
from qmodels.variants import Variant

MEASURED = pytest.StashKey[dict[str, Any]]()


@pytest.fixture(scope="session")
def made(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Who makes this run's numbers."""
    hook = pytestconfig.hook
    commit = hook.pytest_benchmark_generate_commit_info(config=pytestconfig)
    sha = str(commit.get("id", "unknown"))[:12]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": sha + ("-dirty" if commit.get("dirty") else ""),
        "host": machine.host(),
        "versions": machine.versions(),
    }


@pytest.fixture(scope="session")
def describe(
    settings: Settings, checkpoint: Checkpoint, made: dict[str, Any]
) -> Callable[..., dict[str, Any]]:
    """What a benchmark was measured under, as in its ``extra_info``."""

    def described(
        variant: Variant, bench: str, *, batch_size: int, threads: int | str
    ) -> dict[str, Any]:
        weights = checkpoint
        if variant.quantization_aware:
            weights = checkpoints.find_quantization_aware(checkpoint) or checkpoint
        return {
            "network": settings.network,
            "bench": bench,
            "variant": variant.name,
            "engine": variant.engine,
            "arithmetic": variant.arithmetic,
            "runtime": runtime(variant),
            "int8_saturates": engines.ask(variant.engine, variant.requires).saturates,
            "architecture": settings.architecture,
            "width": settings.width,
            "dataset": settings.dataset.name,
            "machine_class": engines.machine_class(variant.engine),
            "gpu": machine.gpu_name() if variant.on_gpu else None,
            "threads": threads,
            "batch_size": batch_size,
            "checkpoint": weights.digest,
            "versions": made["versions"],
            "made": made,
        }

    return described


def runtime(variant: Variant) -> str | None:
    """The packages that run a variant beside torch, with their versions; None without."""
    found = engines.versions(variant.requires)
    return ", ".join(f"{name} {version}" for name, version in found.items()) or None


@pytest.fixture(scope="session")
def held_against(
    pytestconfig: pytest.Config,
    settings: Settings,
    dataset: Dataset,
    checkpoint: Checkpoint,
) -> Callable[[], gate.Baseline | None]:
    """What deterministic metrics are held against: the stored run, or what the base measures."""

    @cache
    def found() -> gate.Baseline | None:
        if settings.base is None:
            return settings.baseline
        with exit_on_user_error(pytestconfig):
            return base_run(settings, checkpoint, pytestconfig.option.qmodels_accuracy_images)

    return found


def base_run(settings: Settings, checkpoint: Checkpoint, images: str | None) -> gate.Baseline:
    """The base's own run of its deterministic benches on this machine.

    Args:
        images: the value of ``--qmodels-accuracy-images``.
    """
    assert settings.base is not None
    run = checkouts.measured(
        settings.base,
        checkpoint,
        settings.variants,
        threads=settings.threads,
        accuracy_images=images,
    )
    return gate.Baseline(settings.base.root, gate.entries_of(run), beside=True)


@pytest.fixture(scope="session")
def accepted_changes(settings: Settings) -> gate.Changes:
    """What the stored runs of this code accept that those of the base do not have."""
    if settings.base is None or settings.baseline is None:
        return {}
    path = settings.baseline.path.relative_to(settings.baselines)
    before = gate.read_baseline(settings.base.root / "baselines" / path)
    return gate.changes(settings.baseline, before, settings.tolerances)


@pytest.fixture
def settled(
    request: pytest.FixtureRequest,
    settings: Settings,
    variant: Variant,
    dataset: Dataset,
    evaluated: Split,
) -> Callable[[Tensor], bool] | None:
    """Whether logits of the first images answer the gate's question; None where all are wanted."""
    if not settings.stops_early or settings.baseline is None or settings.base:
        return None
    bench = request.node.originalname
    key = gate.Key(settings.network, bench, variant.name, EVALUATION_BATCH)
    before = settings.baseline.entries.get(key)
    if before is None or before.ranks is None:
        return None
    stored = before.ranks
    looks = accuracy.looks(len(evaluated))

    def answered(logits: Tensor) -> bool:
        seen = evaluated.first(len(logits))
        now = collect(dataset.test, seen, ranks_of(logits, seen.labels))
        of = (variant.name, variant.arithmetic)
        return now.images == stored.images and all(
            settled_by(
                flips(now, stored, metric),
                settings.tolerances.of(metric, *of) or 0.0,
                settings.tolerances.level(metric, *of) / looks,
            )
            for metric in ("top1", "top5_error")
        )

    return answered


@pytest.fixture
def record(
    request: pytest.FixtureRequest,
    benchmark: Any,
    settings: Settings,
    variant: Variant,
    dataset: Dataset,
    describe: Callable[..., dict[str, Any]],
    held_against: Callable[[], gate.Baseline | None],
    accepted_changes: gate.Changes,
) -> Callable[..., None]:
    """Write metrics into the run record, and hold them against the baseline."""

    def write(
        metrics: dict[str, Metric],
        *,
        batch_size: int,
        threads: int | str,
        ranks: tuple[Split, Tensor] | None = None,
        **details: object,
    ) -> None:
        limits = {
            name: settings.tolerances.of(name, variant.name, variant.arithmetic) for name in metrics
        }
        limited = {
            name: replace(metric, tolerance=limits[name]) for name, metric in metrics.items()
        }
        bench = request.node.originalname
        extra_info = {
            **describe(variant, bench, batch_size=batch_size, threads=threads),
            **details,
            "metrics": {name: metric.as_record() for name, metric in limited.items()},
        }
        notes = []
        if ranks is not None:
            kept = collect(dataset.test, *ranks)
            extra_info["ranks"] = kept.as_record()
            notes = unseen(variant, len(ranks[0]), len(dataset.test), settings)
        benchmark.extra_info.update(extra_info)
        about = {
            "fullname": request.node.nodeid,
            "name": request.node.name,
            "extra_info": extra_info,
        }
        found = []
        if not settings.update_baseline:
            # In turn with a base, latency needs nothing else.
            baseline = None if "latency_change" in metrics else held_against()
            found = gate.compare(gate.entry(about), baseline, settings.tolerances, accepted_changes)
        # In plain types: it may have to go to another process.
        request.node.stash[MEASURED] = json.loads(
            json.dumps({"benchmark": about, "findings": found, "notes": notes}, default=astuple)
        )
        fatal = ["regressed"]
        if settings.require_baseline:
            fatal += ["missing", "undecided"]
        lines = [finding.line for finding in found if finding.verdict in fatal]
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)

    return write


def unseen(variant: Variant, seen: int, whole: int, settings: Settings) -> list[str]:
    """What an evaluation of a part of the images could not have shown."""
    if seen == whole:
        return []
    least = least_visible(seen, settings.tolerances.level("top1", variant.name, variant.arithmetic))
    early = " (the answer was clear by then)" if seen < (settings.accuracy_images or 0) else ""
    return [
        f"accuracy of {variant.name}: {seen} of {whole} images{early}; on so many, a loss of less "
        f"than {least:.2f} points can't be told from chance"
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of pytest: show errors that are the user's to mend as their one line; send the record on."""
    outcome = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, UserError):
        outcome.longrepr = str(call.excinfo.value)
    if call.when == "call" and MEASURED in item.stash:
        vars(outcome)["qmodels"] = item.stash[MEASURED]
    return outcome


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Of pytest-benchmark: what results depend on; pytest-benchmark's own names the host."""
    return {"machine_class": machine.machine_class(), "versions": machine.versions()}
