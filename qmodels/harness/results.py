"""Results of a run: measurements, failures, skips, and verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from qmodels import gate


@dataclass
class Results:
    """Results so far. Of several attempts at a bench the last counts.

    Attributes:
        failures: benches that failed and measured nothing, by node id.
        skipped: variants of benches that were skipped, in order, by the reason.
        phases: how benches ended their phases: "prepared", "called", or "stopped" before that.
        gone: findings on stored entries that were not measured and should have been.
        problems: lines of what fails the run where a baseline is required.
        notes: other lines for the end of the run.
    """

    measured: dict[str, gate.Entry] = field(default_factory=dict)
    findings: dict[str, list[gate.Finding]] = field(default_factory=dict)
    failures: dict[str, gate.Failure] = field(default_factory=dict)
    skipped: dict[str, dict[str, None]] = field(default_factory=dict)
    phases: set[str] = field(default_factory=set)
    gone: list[gate.Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def run(self) -> gate.Run:
        """The results as a run without verdicts."""
        return replace(
            gate.Run.from_entries(self.measured.values()),
            failures=tuple(self.failures.values()),
            skipped={why: tuple(names) for why, names in self.skipped.items()},
        )

    @property
    def ran(self) -> bool:
        """Whether benches ran; with ``--setup-plan``, say, pytest only prepares them."""
        return "called" in self.phases or self.phases == {"stopped"}

    @property
    def verdicts(self) -> list[gate.Finding]:
        """All findings."""
        return [*self.of_measured, *self.gone]

    @property
    def of_measured(self) -> list[gate.Finding]:
        """Findings on what was measured."""
        return [finding for findings in self.findings.values() for finding in findings]

    @property
    def failed(self) -> set[str]:
        """Names of benches that failed and measured nothing."""
        return {failure.name for failure in self.failures.values()}

    def forget(self, nodeid: str) -> None:
        """A bench begins, maybe again."""
        for attempt in (self.measured, self.findings, self.failures):
            attempt.pop(nodeid, None)

    def add(
        self, entry: gate.Entry, findings: Sequence[gate.Finding], notes: Sequence[str]
    ) -> None:
        """A bench has measured."""
        self.notes += notes
        self.measured[entry.nodeid] = entry
        self.findings[entry.nodeid] = list(findings)

    def note(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """A phase of a bench ended: keep the reason where it failed or was skipped."""
        variant = asked_variant(item)
        if report.when == "call":
            self.phases.add("called")
        elif report.when == "setup":
            self.phases.add("prepared" if report.passed else "stopped")
        if report.failed and item.nodeid not in self.measured:
            self.failures[item.nodeid] = gate.Failure(
                bench_name(item), _failure_reason(report), variant, asked_network(item)
            )
        elif report.skipped and variant:
            why = _skip_reason(report).removeprefix(f"{variant}: ")
            self.skipped.setdefault(why, {})[variant] = None


def collect_verdicts(results: Sequence[Results]) -> gate.Verdicts:
    """The verdicts of a session's networks, for the run's record."""
    skipped: dict[str, dict[str, None]] = {}
    for of_network in results:
        for why, names in of_network.skipped.items():
            skipped.setdefault(why, {}).update(names)
    return gate.Verdicts(
        format=gate.FORMAT,
        findings=tuple(finding for each in results for finding in each.of_measured),
        gone=tuple(finding for each in results for finding in each.gone),
        failures=tuple(failure for each in results for failure in each.failures.values()),
        skipped={why: tuple(names) for why, names in skipped.items()},
    )


def asked_network(item: pytest.Item) -> str:
    """The network that a bench asks for; empty where the session has one alone."""
    return _parameter(item, "qmodels_session")


def bench_name(item: pytest.Item) -> str:
    """The name of a bench, which is the same in a session with one network and with several."""
    return gate.bench_name(item.name, asked_network(item), asked_variant(item))


def asked_variant(item: pytest.Item) -> str:
    """The variant that a bench asks for; empty where it has none."""
    return _parameter(item, "qmodels_variant")


def _parameter(item: pytest.Item, fixture: str) -> str:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    value = parameters.get(fixture)
    return value if isinstance(value, str) else ""  # pytest has a sentinel for an empty set


def _failure_reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message.removeprefix("Failed: ") if crash else report.longreprtext
    return next(iter(text.strip().splitlines()), "it failed")


def _skip_reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")
