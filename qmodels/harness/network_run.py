"""The benches of one network: what they share, and what became of them."""

from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from functools import cached_property

import pytest

from qmodels import gate
from qmodels.gate.latency import Case, Timings
from qmodels.harness import storing
from qmodels.harness.latencies import Latencies, latency_entries
from qmodels.harness.missing import Collected, missing_entries, removed_variants
from qmodels.harness.progress import Progress
from qmodels.harness.records import Recorder
from qmodels.harness.results import Results
from qmodels.harness.session import BenchSession
from qmodels.harness.settings import Settings
from qmodels.system.errors import UserError


class NetworkRun:
    """A run of a network's benches.

    Attributes:
        benches: all that there are; after collection, those that the command line chose.
        collected: what the command line chose, after collection.
    """

    collected: Collected

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        config: pytest.Config,
        exit_on_user_error: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.settings = settings
        self.exit_on_user_error = exit_on_user_error
        self.results = Results()
        self.session = BenchSession(settings, progress)
        self.benches: list[pytest.Function] = []
        self.recorder = Recorder(
            self.session, self.results, self.benches, config, exit_on_user_error
        )

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.settings.network.name

    @cached_property
    def latencies(self) -> dict[Case, Timings | UserError]:
        """Times of all cases, measured together, or why a case was given up."""
        entries = latency_entries(self.benches, self.recorder)
        with self.exit_on_user_error():
            return Latencies(self.session, entries).measure()

    def choose(self, chosen: Container[pytest.Item], session: pytest.Session) -> None:
        """Note what the command line chose."""
        self.collected = Collected.of(self.benches, chosen, session)
        self.benches[:] = [bench for bench in self.benches if bench in chosen]

    def look_for_missing(self, *, stopped: bool) -> None:
        """Find what should have been measured and was not."""
        results, settings = self.results, self.settings
        if not results.measured:
            results.problems.append("no bench was measured")
        measured = {entry.key for entry in results.measured.values()}
        gone, excuses = missing_entries(settings, self.collected, measured, results.failed)
        results.notes += excuses
        if gone and stopped:
            count = len({finding.key for finding in gone})
            results.notes.append(f"stopped early: {count} benches were not measured")
        else:
            results.gone = gone
            results.problems += gate.lines(gone)
        results.problems += removed_variants(settings)

    def finish(self, session: pytest.Session, *, passed: bool) -> None:
        """Store the run, or fail where something is missing."""
        results, settings = self.results, self.settings
        if results.measured and (logits := self.session.kept_logits):
            results.notes += logits.lines()
            for finding in results.of_measured:
                if finding.verdict == "regressed":  # the next run computes all of it
                    logits.forget(finding.key.variant)
        if settings.update_baseline:
            results.notes += storing.update_baseline(
                session, settings, results, passed=passed, whole=self.collected.is_whole(settings)
            )
        elif settings.require_baseline and results.problems:
            results.notes += [f"FAILED {problem}" for problem in results.problems]
            if passed:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        else:
            results.notes += results.problems
