"""The record of each benchmark: what was measured, under what, by whom, and what the gate says."""

import json
from collections.abc import Callable, Generator
from dataclasses import astuple, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from torch import Tensor

from qmodels import engines, gate, machine
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset, Split
from qmodels.errors import UserError
from qmodels.evaluation import ranks as ranks_of
from qmodels.gate.ranks import collect, flips, least_visible
from qmodels.gate.ranks import settled as settled_by
from qmodels.harness.options import Settings
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

    def described(variant: Variant, *, batch_size: int, threads: int | str) -> dict[str, Any]:
        return {
            "variant": variant.name,
            "engine": variant.engine,
            "arithmetic": variant.arithmetic,
            "runtime": runtime(variant),
            "int8_saturates": engines.ask(variant.engine, variant.requires).saturates,
            "architecture": settings.architecture,
            "width": settings.width,
            "dataset": settings.dataset.name,
            "machine_class": engines.machine_class(variant.engine),
            "threads": threads,
            "batch_size": batch_size,
            "checkpoint": checkpoint.sha256[:16],
            "versions": made["versions"],
            "made": made,
        }

    return described


def runtime(variant: Variant) -> str | None:
    """The packages that run a variant beside torch, with their versions; None without."""
    found = engines.versions(variant.requires)
    return ", ".join(f"{name} {version}" for name, version in found.items()) or None


@pytest.fixture
def settled(
    request: pytest.FixtureRequest,
    settings: Settings,
    variant: Variant,
    dataset: Dataset,
    evaluated: Split,
) -> Callable[[Tensor], bool] | None:
    """Whether logits of the first images answer the gate's question; None where all are wanted."""
    if not settings.stops_early or settings.baseline is None:
        return None
    before = settings.baseline.entries.get(request.node.nodeid)
    if before is None or before.ranks is None:
        return None
    stored = before.ranks
    looks = accuracy.looks(len(evaluated))

    def answered(logits: Tensor) -> bool:
        seen = evaluated.first(len(logits))
        now = collect(dataset.test, seen, ranks_of(logits, seen.labels))
        return now.images == stored.images and all(
            settled_by(
                flips(now, stored, metric),
                settings.tolerances.of(metric, variant.name) or 0.0,
                settings.tolerances.level(metric, variant.name) / looks,
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
        limited = {
            name: replace(metric, tolerance=settings.tolerances.of(name, variant.name))
            for name, metric in metrics.items()
        }
        extra_info = {
            **describe(variant, batch_size=batch_size, threads=threads),
            **details,
            "metrics": {name: metric.as_record() for name, metric in limited.items()},
        }
        notes = []
        if ranks is not None:
            kept = collect(dataset.test, *ranks)
            extra_info["ranks"] = kept.as_record()
            notes = unseen(variant.name, len(ranks[0]), len(dataset.test), settings)
        benchmark.extra_info.update(extra_info)
        nodeid = request.node.nodeid
        found = []
        if not settings.update_baseline:
            now = gate.entry(extra_info)
            found = gate.compare(nodeid, now, settings.baseline, settings.tolerances)
        # In plain types: it may have to go to another process.
        request.node.stash[MEASURED] = json.loads(
            json.dumps(
                {"extra_info": extra_info, "findings": found, "notes": notes}, default=astuple
            )
        )
        fatal = ("regressed", "missing") if settings.require_baseline else ("regressed",)
        lines = [finding.line for finding in found if finding.verdict in fatal]
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)

    return write


def unseen(name: str, seen: int, whole: int, settings: Settings) -> list[str]:
    """What an evaluation of a part of the images could not have shown."""
    if seen == whole:
        return []
    least = least_visible(seen, settings.tolerances.level("top1", name))
    early = " (the answer was clear by then)" if seen < (settings.accuracy_images or 0) else ""
    return [
        f"accuracy of {name}: {seen} of {whole} images{early}; on so many, a loss of less than "
        f"{least:.2f} points can't be told from chance"
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
