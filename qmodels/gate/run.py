"""A run as a value: what was measured, what was not, and the verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from qmodels.gate.entry import Entry, Key
from qmodels.gate.finding import Failure, Finding


@dataclass(frozen=True)
class Run:
    """All benchmarks of a run.

    Attributes:
        entries: in the order of the record.
        partial: whether a stored file has only what was accepted of its machine class; the rest
            is in the file of the nearest class.
        findings: the verdicts of the run itself; None of one that gave none, as a stored one.
        gone: findings on entries of its baseline that it should have measured and did not.
        skipped: variants that could not run, by the reason.
    """

    machine_class: str | None
    entries: Mapping[Key, Entry]
    partial: bool = False
    findings: tuple[Finding, ...] | None = None
    gone: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @staticmethod
    def from_entries(entries: Iterable[Entry]) -> "Run":
        """Entries that were not stored, as a run."""
        return Run(None, by_key(entries))

    @property
    def networks(self) -> list[str]:
        """Names of the networks that were measured."""
        return list(dict.fromkeys(key.network for key in self.entries))

    def of_network(self, name: str) -> "Run":
        """The part of the run about one of several networks."""
        findings = None
        if self.findings is not None:
            findings = tuple(each for each in self.findings if each.key.network == name)
        return replace(
            self,
            entries={key: entry for key, entry in self.entries.items() if key.network == name},
            findings=findings,
            gone=tuple(finding for finding in self.gone if finding.key.network == name),
            failures=tuple(each for each in self.failures if each.network in ("", name)),
        )

    def alone(self) -> "Run":
        """This run without its own verdicts and without what a base measured beside it."""
        entries = {key: replace(entry, base=None) for key, entry in self.entries.items()}
        return replace(self, entries=entries, findings=None)


def reasons_of(skipped: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Why variants could not run, by their names."""
    return {name: why for why, names in skipped.items() for name in names}


def by_reason(reasons: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Names of variants by the reason that they share."""
    shared: dict[str, tuple[str, ...]] = {}
    for name, why in reasons.items():
        shared[why] = (*shared.get(why, ()), name)
    return shared


def by_key(entries: Iterable[Entry]) -> dict[Key, Entry]:
    """Entries by what identifies them."""
    return {entry.key: entry for entry in entries}
