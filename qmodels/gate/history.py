"""A metric of a stored run over the commits that accepted it.

The file is read as each commit left it. Unlike the gate, this reads the formats of before as well:
of an old run only the values are wanted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmodels.gate.tolerances import Origin, Tolerances
from qmodels.measure.metric import Metric
from qmodels.system import codec
from qmodels.system.errors import UserError
from qmodels.system.repository import GitError, git

UNCOMMITTED = "-"


@dataclass(frozen=True)
class Commit:
    """A commit that changed the file; of the file as it lies there, ``UNCOMMITTED``.

    Attributes:
        sha: the digits that git shows.
        date: of the commit, as 2026-11-28.
    """

    sha: str
    date: str
    subject: str


@dataclass(frozen=True)
class Value:
    """A metric as a commit stored it.

    Attributes:
        arithmetic: the type that the variant multiplies in, which tolerances may depend on.
        host: where it was measured; None where the file does not say.
    """

    commit: Commit
    metric: Metric
    arithmetic: str
    host: str | None


def elsewhere(before: Value, after: Value) -> bool:
    """Whether two values are known to be of different hosts."""
    return None not in (before.host, after.host) and before.host != after.host


@dataclass(frozen=True)
class Change:
    """A commit whose value is further from the one before than the tolerance.

    Attributes:
        before: the value that the gate would have compared it with: that of the last change, so
            that small steps in one direction add up.
    """

    before: Value
    after: Value
    better: bool


@dataclass(frozen=True)
class Series:
    """Values of a metric of one variant, the oldest first.

    Attributes:
        batch_size: None where the metric has one size alone.
    """

    variant: str
    batch_size: int | None
    values: tuple[Value, ...]

    @property
    def name(self) -> str:
        """The variant, and the batch size where there are several."""
        return self.variant if self.batch_size is None else f"{self.variant} ({self.batch_size})"

    def changes(self, metric: str, tolerances: Tolerances) -> list[Change]:
        """Every change beyond the metric's tolerance; none of a metric that is not gated."""
        changes: list[Change] = []
        reference = self.values[0]
        for value in self.values[1:]:
            difference = value.metric.value - reference.metric.value
            origin: Origin = "another host" if elsewhere(reference, value) else "this host"
            tolerance = tolerances.tolerance(metric, self.variant, value.arithmetic, origin)
            if tolerance is not None and abs(difference) > reference.metric.slack(tolerance):
                better = (difference < 0) == (value.metric.better == "lower")
                changes.append(Change(reference, value, better))
                reference = value
        return changes


@dataclass(frozen=True)
class History:
    """A metric in every version of a stored run.

    Attributes:
        commits: those that stored it, the oldest first.
        shallow: whether the repository lacks the commits before some.
    """

    commits: tuple[Commit, ...]
    series: tuple[Series, ...]
    shallow: bool


def read_history(path: Path, metric: str) -> History:
    """A metric of every variant over the commits of a stored run, under the name it has now.

    Raises:
        UserError: there is no repository, or no commit stored the metric.
    """
    commits: list[Commit] = []
    by_key: dict[tuple[str, int], list[Value]] = {}
    last: dict[tuple[str, int], Value] = {}
    for commit, text in _versions(path):
        try:
            record = codec.decode(dict[str, Any], codec.parse_json(text))
            last = dict(_values_of(record, metric, commit))
        except (KeyError, TypeError, AttributeError, UserError):
            continue  # something else was stored there, or it was damaged
        if last:
            commits.append(commit)
        for key, value in last.items():
            by_key.setdefault(key, []).append(value)
    if not by_key:
        raise UserError(
            f"no commit of {path.name} stored {metric}: name another metric, as top1 or size_bytes"
        )
    sizes = {size for _, size in by_key}
    series = (
        Series(key[0], key[1] if len(sizes) > 1 else None, tuple(by_key[key]))
        for key in (*last, *(key for key in by_key if key not in last))
    )
    shallow = git("rev-parse", "--is-shallow-repository", folder=path.parent).strip() == b"true"
    return History(tuple(commits), tuple(series), shallow)


def _versions(path: Path) -> Iterator[tuple[Commit, bytes]]:
    """The file as each commit left it, the oldest first; the file as it is now, if that differs."""
    # Along first parents: a merge changed what it brought in, and no commit of its branch did.
    options = ("--first-parent", "--no-show-signature", "-z", "--format=%h%x09%as%x09%s")
    try:
        listed = git("log", *options, "--", path.name, folder=path.parent).decode(errors="replace")
    except GitError as error:
        raise UserError(f"{path.name} has no history ({error}): run this in a clone") from None
    text = None
    for line in reversed([line for line in listed.split("\0") if line]):
        commit = Commit(*line.split("\t", 2))
        # A commit that deleted the file has none of it.
        if git("ls-tree", commit.sha, "--", path.name, folder=path.parent):
            text = git("show", f"{commit.sha}:./{path.name}", folder=path.parent)
            yield commit, text
    now = path.read_bytes() if path.is_file() else None
    if now is not None and now != text:
        yield Commit(UNCOMMITTED, "", "not committed"), now


@dataclass(frozen=True)
class _StoredCase:
    variant: str
    batch_size: int
    arithmetic: str


def _values_of(
    record: Mapping[str, Any], metric: str, commit: Commit
) -> Iterator[tuple[tuple[str, int], Value]]:
    """A metric of a stored run, by variant and batch size; before format 3 it was pytest's JSON."""
    makers = record.get("provenance") or record.get("made") or {}
    for about, metrics in _entries(record):
        if metric in metrics:
            maker = makers.get(about.get("provenance") or about.get("made"), {})
            measured, case = codec.decode(Metric, metrics[metric]), codec.decode(_StoredCase, about)
            value = Value(commit, measured, case.arithmetic, maker.get("host"))
            yield (case.variant, case.batch_size), value


def _entries(record: Mapping[str, Any]) -> Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    if "entries" in record:
        return [(entry["about"], entry) for entry in record["entries"].values()]
    abouts = [benchmark["extra_info"] for benchmark in record["benchmarks"]]
    return [(about, about["metrics"]) for about in abouts]
