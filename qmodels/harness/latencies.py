"""Latencies of all cases of a run, measured together, in fresh processes that take turns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from qmodels import gate, variants
from qmodels.base import requests
from qmodels.base.arms import Arm
from qmodels.gate import latency
from qmodels.gate.latency import REFERENCE, Timings
from qmodels.gate.sequential import Case, Rule
from qmodels.harness import sampling
from qmodels.harness.records import Recorder
from qmodels.harness.session import BenchSession
from qmodels.system.errors import UserError


@dataclass(frozen=True)
class Latencies:
    """Measures the latency of cases.

    Attributes:
        entries: the benches that ask for it, without metrics, by case.
    """

    session: BenchSession
    entries: Mapping[Case, gate.Entry]

    def measure(self) -> dict[Case, Timings]:
        """Times of every case whose artifact could be built; without fp32's, of none.

        Raises:
            UserError: the processes of a whole side failed.
        """
        settings = self.session.settings
        folders: dict[str, str] = {}
        failures: dict[str, str] = {}
        for name in dict.fromkeys([REFERENCE, *(name for name, _ in self.entries)]):
            try:
                folders[name] = str(self.session.build(name).folder)
            except UserError as error:
                failures[name] = str(error)
        if REFERENCE in failures:  # every ratio needs it
            return {case: Timings(failure=failures[REFERENCE]) for case in self.entries}
        base_folders: Mapping[str, str] = {}
        if settings.base:
            network = self.session.network
            with self.session.progress.working("building the base"):
                base_folders = requests.build(settings.base, network, list(folders)).folders
        cases = [case for case in self.entries if case[0] in folders]
        paired = [case for case in cases if case[0] in base_folders]
        alone = [case for case in cases if case[0] not in base_folders]  # new ones have no base
        head = Arm(None, {"artifacts": folders})
        timings: dict[Case, Timings] = {}
        if settings.base and paired:
            base = Arm(settings.base.code, {"artifacts": base_folders})
            timings |= self.run(paired, head, base)
        if alone:
            timings |= self.run(alone, head, None)
        return timings

    def run(self, cases: Sequence[Case], head: Arm, base: Arm | None) -> dict[Case, Timings]:
        """Times of some cases, against a base revision or without one."""
        settings = self.session.settings
        return sampling.measure(
            cases,
            head,
            base,
            self.rules(cases, with_base=base is not None),
            settings.threads,
            to_store=settings.update_baseline,
            on_draw=self.session.progress.time_process,
        )

    def rules(self, cases: Iterable[Case], *, with_base: bool) -> dict[Case, Rule]:
        """How each case is judged, where there is something to compare it with."""
        settings = self.session.settings
        stored = None if settings.base else settings.baseline
        rules = {}
        for case in cases:
            entry = self.entries[case]
            if with_base:
                rule = latency.paired_rule(entry.variant, entry.arithmetic, settings.tolerances)
            else:
                rule = latency.stored_rule(entry, stored, settings.tolerances)
            if rule is not None:
                rules[case] = rule
        return rules


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
