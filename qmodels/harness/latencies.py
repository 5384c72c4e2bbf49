"""Latencies of all cases of a run, measured together, in fresh processes that take turns.

A case takes as many processes as the gate's rules ask for; a run to store takes a fixed number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import pytest

from qmodels import gate, variants
from qmodels.base import requests
from qmodels.base.arms import Arm, time_arms
from qmodels.gate import sequential
from qmodels.gate.comparable import Unfit, fit
from qmodels.gate.latency import Case, Process, Timings
from qmodels.gate.rules import rule_in_turn, stored_rules
from qmodels.gate.sequential import Rule
from qmodels.harness.records import Recorder
from qmodels.harness.session import BenchSession
from qmodels.measure.latency import Times, log_ratio
from qmodels.measure.latency_worker import PROBE
from qmodels.measure.metrics import LATENCY_CHANGE, LATENCY_RATIO, PROBE_RATIO
from qmodels.system.defaults import REFERENCE
from qmodels.system.errors import UserError


def latency_entries(
    benches: Iterable[pytest.Function], recorder: Recorder
) -> dict[Case, gate.Entry]:
    """The benches that will ask for latencies and can run here, without metrics, by case."""
    entries: dict[Case, gate.Entry] = {}
    for bench in benches:
        if "qmodels_latencies" not in bench.fixturenames:
            continue
        parameters: dict[str, Any] = bench.callspec.params
        name, batch_size = parameters["qmodels_variant"], parameters["batch_size"]
        variant = variants.all_variants()[name]
        if variant.unavailable_reason() is None:
            entries[name, batch_size] = recorder.entry(
                variant, bench, batch_size=batch_size, threads=recorder.settings.threads
            )
    return entries


@dataclass(frozen=True)
class Latencies:
    """Measures the latency of cases.

    Attributes:
        entries: the benches that ask for it, without metrics, by case.
    """

    session: BenchSession
    entries: Mapping[Case, gate.Entry]

    def measure(self) -> dict[Case, Timings | UserError]:
        """Times of every case, or why it was given up."""
        folders: dict[str, str] = {}
        failures: dict[str, UserError] = {}
        for name in dict.fromkeys([REFERENCE, *(name for name, _ in self.entries)]):
            try:
                folders[name] = str(self.session.build(name).folder)
            except UserError as error:
                failures[name] = error
        if REFERENCE in failures:  # every ratio needs it
            return dict.fromkeys(self.entries, failures[REFERENCE])
        timings: dict[Case, Timings | UserError] = {
            case: failures[case[0]] for case in self.entries if case[0] in failures
        }
        base_folders = self.build_base(folders)
        cases = [case for case in self.entries if case[0] in folders]
        paired = [case for case in cases if case[0] in base_folders]
        alone = [case for case in cases if case[0] not in base_folders]  # new ones have no base
        if paired:
            timings |= self.time(paired, folders, base_folders)
        if alone:
            timings |= self.time(alone, folders, {})
        return timings

    def build_base(self, names: Iterable[str]) -> Mapping[str, str]:
        """Folders of the base's artifacts, by variant; none without a base."""
        base = self.session.settings.base
        if base is None:
            return {}
        with self.session.progress.working("building the base"):
            return requests.build(base, self.session.network, list(names)).folders

    def time(
        self, cases: Sequence[Case], folders: Mapping[str, str], base_folders: Mapping[str, str]
    ) -> dict[Case, Timings | UserError]:
        """Times of some cases, against a base where that has artifacts."""
        settings = self.session.settings
        arms = [Arm(None, {"artifacts": folders})]
        if settings.base and base_folders:
            arms.append(Arm(settings.base.code, {"artifacts": base_folders}))
        return time_cases(
            cases,
            arms,
            {case: self.rules_of(case, with_base=len(arms) > 1) for case in cases},
            settings.threads,
            to_store=settings.update_baseline,
            on_draw=self.session.progress.time_process,
        )

    def rules_of(self, case: Case, *, with_base: bool) -> list[Rule]:
        """The rules that judge a case; none where it has nothing to be compared with."""
        settings, now = self.session.settings, self.entries[case]
        if with_base:
            tolerance = settings.tolerances.of(LATENCY_CHANGE.name, now)
            return [] if tolerance is None else [rule_in_turn(tolerance)]
        baseline = None if settings.base else settings.baseline
        before = fit(now, baseline, settings.tolerances)
        return [] if isinstance(before, Unfit) else stored_rules(before)


def time_cases(
    cases: Sequence[Case],
    arms: Sequence[Arm],
    rules: Mapping[Case, Sequence[Rule]],
    threads: int,
    *,
    to_store: bool = False,
    on_draw: Callable[[int, int], None] = lambda cases, least: None,
) -> dict[Case, Timings | UserError]:
    """Time every case in as many fresh processes as it takes; see ``sequential.run``.

    A case is given up if its model fails, or one that it is compared with.

    Args:
        arms: this code, and maybe a base that takes turns with it.
        on_draw: called with the number of cases before each process, and with the least number of
            processes that there will be.
    """
    failures: dict[Case, UserError] = {}
    least = sequential.STORED_PROCESSES if to_store else sequential.SCREEN.first
    references = [PROBE, REFERENCE]
    # With a base, only the first processes also give ratios.
    drawn = chain([references], repeat(references if len(arms) == 1 else []))

    def draw(wanted: Sequence[Case]) -> dict[Case, Process]:
        on_draw(len(wanted), least)
        others = next(drawn)
        by_size: dict[int, dict[str, None]] = {}
        for name, size in wanted:
            by_size.setdefault(size, dict.fromkeys(others))[name] = None
        times = time_arms(arms, {size: list(names) for size, names in by_size.items()}, threads)
        processes = {}
        for case in wanted:
            lines = [times.failures[name] for name in (*others, case[0]) if name in times.failures]
            if lines:
                failures[case] = UserError(lines[0])
            else:
                processes[case] = _process(case, times, others)
        return processes

    return {**sequential.run(cases, draw, rules, to_store=to_store), **failures}


def _process(case: Case, times: Times, references: Sequence[str]) -> Process:
    name, size = case
    head, *bases = times.processes
    seconds = head[case]
    log_ratios = {
        metric.name: log_ratio(seconds, head[reference, size])
        for metric, reference in ((PROBE_RATIO, PROBE), (LATENCY_RATIO, REFERENCE))
        if reference in references and reference != name
    }
    for base in bases:
        log_ratios[LATENCY_CHANGE.name] = log_ratio(seconds, base[case])
    base_seconds = [forward for base in bases for forward in base[case].ravel().tolist()]
    return Process(tuple(seconds.ravel().tolist()), log_ratios, tuple(base_seconds))
