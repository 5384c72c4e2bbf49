"""The record of a benchmark: what was measured, under what, by whom, and the verdict."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from qmodels import gate
from qmodels.base import requests
from qmodels.gate import ranks, scores
from qmodels.gate.ranks import Ranks
from qmodels.gate.scores import Scores
from qmodels.harness.results import Results, bench_name
from qmodels.harness.session import BenchSession
from qmodels.harness.settings import Settings, stored_by_base
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import LATENCY_CHANGE, METRICS, TOP1
from qmodels.network import evaluation
from qmodels.network.evaluation import Evaluation, Predictions, Scored
from qmodels.system import codec, machine, repository
from qmodels.system.errors import UserError
from qmodels.variants import Variant


@dataclass
class Recorder:
    """Describes benchmarks, and compares them with the baseline."""

    session: BenchSession
    results: Results
    benches: Sequence[pytest.Function]
    config: pytest.Config
    exit_on_user_error: Callable[[], AbstractContextManager[None]]

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self.session.settings

    @cached_property
    def provenance(self) -> gate.Provenance:
        """Who makes this run's numbers."""
        with repository.without_variables():
            commit = self.config.hook.pytest_benchmark_generate_commit_info(config=self.config)
        sha = str(commit.get("id", "unknown"))[:12]
        return gate.Provenance(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=sha + ("-dirty" if commit.get("dirty") else ""),
            versions=machine.versions(),
            host=machine.host(),
            processor=machine.processor(),
        )

    def entry(
        self,
        variant: Variant,
        item: pytest.Function,
        *,
        batch_size: int,
        threads: int | str,
        **measured: Any,
    ) -> gate.Entry:
        """A benchmark of this run."""
        network = self.session.network
        return gate.Entry(
            network=network.name,
            bench=item.originalname,
            variant=variant.name,
            batch_size=batch_size,
            name=bench_name(item),
            nodeid=item.nodeid,
            machine_class=variant.backend.machine_class(),
            arithmetic=variant.arithmetic,
            engine=variant.engine,
            runtime=variant.runtime(),
            threads=threads,
            gpu=machine.gpu_name() if variant.on_gpu else None,
            provenance=self.provenance,
            weights=network.sha256[:16],
            source=network.call.as_record(),
            kernel_library=variant.backend.kernel_library_here(),
            portable=variant.backend.portable,
            int8_saturates=variant.probe().saturates,
            **{"metrics": {}, **measured},
        )

    @cached_property
    def baseline(self) -> gate.Baseline | None:
        """The baseline of deterministic metrics: the stored run, or the base's own."""
        settings = self.settings
        if settings.base is None:
            return settings.baseline
        measuring = self.session.progress.working("measuring the base")
        with self.exit_on_user_error(), measuring:
            run = requests.measure(
                settings.base,
                self.session.network,
                settings.variants,
                [bench.path for bench in self.benches],
                threads=settings.threads,
                accuracy_images=self.config.option.qmodels_accuracy_images,
            )
        # Not of a file that people know: it lies in the cache.
        entries = {key: replace(entry, file=None) for key, entry in run.entries.items()}
        failures = {failure.name: failure.reason for failure in run.failures}
        return gate.Baseline(
            settings.base.code.root,
            entries,
            from_base=True,
            failures=failures,
            skipped=run.skipped,
        )

    @cached_property
    def accepted(self) -> gate.StoredChanges | None:
        """Losses that baselines accept against the base; None where there are no two to compare."""
        settings = self.settings
        if settings.baseline is None:
            return None
        before = stored_by_base(settings)
        return None if before is None else gate.StoredChanges(settings.baseline.entries, before)


@dataclass(frozen=True)
class Record:
    """Records what one bench measured, and fails the bench where the gate does."""

    recorder: Recorder
    item: pytest.Function
    benchmark: BenchmarkFixture
    variant: Variant

    def __call__(
        self,
        metrics: Mapping[str, Metric],
        *,
        batch_size: int = 1,
        threads: int | str = "all",
        evaluated: Evaluation | None = None,
        unmeasured: Mapping[str, str] | None = None,
        images: int | None = None,
        cpus: int | None = None,
        details: gate.Details = gate.NO_DETAILS,
    ) -> None:
        """Write metrics into the run record, and compare them with the baseline.

        Args:
            metrics: by name. One that qmodels does not know brings its tolerance.
            evaluated: what accuracy was measured of.
            unmeasured: metrics that this machine cannot measure, and why: they are excused.
            images, cpus, details: as in ``gate.Entry``.

        Raises:
            UserError: what is recorded is no metric.
        """
        metrics = {name: _checked(name, metric) for name, metric in metrics.items()}
        if self.benchmark.stats is None and not self.benchmark.disabled:
            # pytest-benchmark records no bench that times nothing.
            self.benchmark.pedantic(int)  # type: ignore[no-untyped-call]
        session, excuses = self.recorder.session, unmeasured or {}
        settings, variant = session.settings, self.variant
        limited = {
            name: replace(
                metric,
                tolerance=settings.tolerances.tolerance(name, variant.name, variant.arithmetic),
            )
            if name in METRICS
            else metric
            for name, metric in metrics.items()
        }
        entry = self.recorder.entry(
            variant,
            self.item,
            batch_size=batch_size,
            threads=threads,
            metrics=limited,
            unmeasured=excuses,
            images=_without_numpy(images),
            cpus=_without_numpy(cpus),
            by_image=_by_image(session, evaluated),
            **vars(details),
        )
        notes = [f"excused: {name} is not measured: {why}" for name, why in excuses.items()]
        if evaluated is not None:
            notes += _unseen(session, variant)
        findings: list[gate.Finding] = []
        if not settings.update_baseline:
            # In turn with a base, latency needs nothing else.
            baseline = None if LATENCY_CHANGE.name in metrics else self.recorder.baseline
            if settings.base:
                entry = replace(entry, base=_base_values(entry, baseline))
            findings = gate.compare(
                entry,
                baseline,
                settings.tolerances,
                self.recorder.accepted,
            )
        self.benchmark.extra_info.update(codec.encode(entry, gate.Measured))
        self.recorder.results.add(entry, findings, notes)
        fatal = ["regressed"]
        if settings.require_baseline:
            fatal += ["missing", "undecided"]
        lines = gate.lines(finding for finding in findings if finding.verdict in fatal)
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)


def _checked(name: str, metric: Metric) -> Metric:
    if not isinstance(metric, Metric):
        raise UserError(f"metric {name!r} is {metric!r}: record a qmodels.Metric")
    record = {key: _without_numpy(value) for key, value in codec.encode(metric).items()}
    try:
        metric = codec.decode(Metric, record)
    except codec.Malformed as error:
        raise UserError(f"metric {name!r} can't be recorded: {error}") from None
    known = METRICS.get(name)
    if known and (metric.unit, metric.better) != (known.unit, known.better):
        raise UserError(
            f"metric {name!r} is in {metric.unit!r}, {metric.better} is better, and qmodels has "
            f"one in {known.unit!r}, {known.better}: give it another name"
        )
    return metric


def _without_numpy(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_without_numpy(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _base_values(entry: gate.Entry, base: gate.Baseline | None) -> dict[str, float]:
    before = base.entries.get(entry.key) if base else None
    return {name: metric.value for name, metric in before.metrics.items()} if before else {}


def _by_image(session: BenchSession, evaluated: Evaluation | None) -> Ranks | Scores | None:
    network, positions = session.network, session.evaluated.numpy()
    if isinstance(evaluated, Predictions):
        right = evaluation.ranks(evaluated.logits, evaluated.labels)
        return ranks.collect(network.labels.numpy(), positions, right.numpy())
    if isinstance(evaluated, Scored):
        return scores.collect(
            network.targets_digest, len(network.targets), positions, evaluated.scores.numpy()
        )
    return None


def _unseen(session: BenchSession, variant: Variant) -> list[str]:
    """The loss that an evaluation of a part of the images cannot detect, in a line."""
    settings = session.settings
    seen, whole = len(session.evaluated), len(session.network.test_images)
    if seen == whole:
        return []
    if session.network.score is not None:
        return [f"score of {seen} of {whole} images"]
    least = ranks.least_visible(
        seen, settings.tolerances.level(TOP1.name, variant.name, variant.arithmetic)
    )
    return [
        f"accuracy on {seen} of {whole} images: a loss of less than {least:.2f} points cannot be "
        "detected"
    ]
