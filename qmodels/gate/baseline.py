"""Stored runs: pytest-benchmark's JSON, laid out for people who review a change of it.

What a run measured stands one metric a line, in the order of the benchmarks' names; who made it
(date, commit, versions, host) stands once at the top, and entries refer to it. Ranks of images are
in a file beside it, a line for each variant. Files have a format number: those of format 1 are read
as well, and become format 2 when they are next written.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from qmodels import store
from qmodels.errors import UserError
from qmodels.gate.classes import nearest
from qmodels.gate.ranks import Ranks
from qmodels.metric import Metric

FORMAT = 2
# Numbers taken under different ones of these are different quantities. Of machine classes see
# ``verdict``.
CONDITIONS = (
    "engine",
    "runtime",
    "architecture",
    "width",
    "dataset",
    "checkpoint",
    "threads",
    "batch_size",
    "gpu",
)
# Kept of a benchmark's extra_info beside its metrics.
FACTS = (
    "network",
    "bench",
    "variant",
    "machine_class",
    *CONDITIONS,
    "arithmetic",
    "images",
    "int8_saturates",
    "cpus",
)
# What pytest-benchmark needs to print a comparison.
STATISTICS = [
    "min",
    "max",
    "mean",
    "stddev",
    "median",
    "iqr",
    "ops",
    "rounds",
    "iterations",
    "outliers",
    "total",
    "ld15iqr",
    "hd15iqr",
    "q1",
    "q3",
    "iqr_outliers",
    "stddev_outliers",
]
DIGITS = 6


@dataclass(frozen=True)
class Made:
    """Who made an entry.

    Attributes:
        date: ISO 8601.
        commit: with ``-dirty`` where the checkout was changed.
        versions: of Python and packages.
        host: an opaque digest of one boot of one machine; see ``machine.host``.
    """

    date: str
    commit: str
    versions: Mapping[str, str]
    host: str

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Made":
        """Read an entry of the file's ``made``."""
        return Made(
            date=str(record.get("date")),
            commit=str(record.get("commit")),
            versions=dict(record.get("versions", {})),
            host=str(record.get("host")),
        )


class Key(NamedTuple):
    """What tells one entry from another, wherever the code of its bench lies."""

    network: str
    bench: str
    variant: str
    batch_size: int


@dataclass(frozen=True)
class Entry:
    """One benchmark of a run.

    Attributes:
        name: as pytest shows it, for people.
        nodeid: where pytest found it when it ran.
        machine_class: of the processor, or of the GPU where that executes the variant.
        conditions: by the names of ``CONDITIONS``.
        images: how many accuracy is of.
        file: that it is stored in, as people type it; None of a run that is not stored.
    """

    key: Key
    name: str
    nodeid: str
    machine_class: str
    arithmetic: str
    conditions: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    made: Made
    images: int | None = None
    ranks: Ranks | None = None
    file: str | None = None

    @property
    def variant(self) -> str:
        """The variant that was measured."""
        return self.key.variant

    @property
    def network(self) -> str:
        """The network, the machine class and the checkpoint, for people."""
        return f"{self.key.network} of {self.conditions['checkpoint']} on {self.machine_class}"


@dataclass(frozen=True)
class Baseline:
    """What a run is held against: stored entries, or those of a base that ran beside it.

    Attributes:
        path: of the file; of a base, of its code.
        beside: whether it is a base's own run, on this machine.
    """

    path: Path
    entries: Mapping[Key, Entry]
    beside: bool = False

    @property
    def shown(self) -> str:
        """The path as people type it."""
        return shown(self.path)

    def joined(self, other: "Baseline | None") -> "Baseline":
        """With the entries of another one too, as those of a GPU."""
        more = other.entries if other else {}
        return Baseline(self.path, {**self.entries, **more}, self.beside)


def shown(path: Path) -> str:
    """A path as people type it: from here, where it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def network_name(dataset: str, architecture: str, width: int) -> str:
    """The name of a network, which files of baselines have too."""
    return f"{dataset}-{architecture}-w{width}"


def baseline_path(folder: Path, machine_class: str, network: str) -> Path:
    """Where the baseline of one machine class and network is stored."""
    return folder / machine_class / f"{network}.json"


def find_baseline(
    folder: Path, machine_class: str, network: str, checkpoint: str | None
) -> Baseline | None:
    """The stored run of a class, or else of the nearest class that has one of these weights.

    Args:
        folder: of all baselines.
        checkpoint: the first digits of the digest of the weights; None where any will do.

    Raises:
        UserError: a file is damaged.
    """
    stored = sorted(path.parent.name for path in folder.glob(f"*/{network}.json"))
    for one in (machine_class, *nearest(machine_class, stored)):
        baseline = read_baseline(baseline_path(folder, one, network), one)
        if baseline is None:
            continue
        entries = baseline.entries.values()
        if checkpoint is None or any(e.conditions["checkpoint"] == checkpoint for e in entries):
            return baseline
    return None


def ranks_path(path: Path) -> Path:
    """The file beside a baseline that holds the ranks."""
    return path.with_suffix(".ranks.json")


def read_run(path: Path) -> dict[str, Any]:
    """A pytest-benchmark JSON file that this harness wrote.

    Raises:
        UserError: it can't be read, or is something else.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        for benchmark in run["benchmarks"]:
            benchmark["fullname"], benchmark["name"], benchmark["extra_info"]["metrics"].items()
    except FileNotFoundError:
        raise UserError(f"run {path} does not exist: name a file of --benchmark-json") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"run {path} is damaged, or not of pytest-benchmark with qmodels' metrics: restore it "
            "from git, or delete it and make it again with --qmodels-update-baseline"
        ) from None
    return dict(run)


def entry(benchmark: Mapping[str, Any], file: str | None = None) -> Entry:
    """What the gate compares, from a benchmark of a run record.

    Args:
        benchmark: its ``fullname``, ``name`` and ``extra_info``.
        file: that it is stored in.

    Raises:
        UserError: a metric is not one, or the record lacks what tells entries apart.
    """
    extra_info = benchmark["extra_info"]
    ranks = extra_info.get("ranks")
    try:
        key = Key(
            str(extra_info["network"]),
            str(extra_info["bench"]),
            str(extra_info["variant"]),
            int(extra_info["batch_size"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"an entry has no {error}") from None
    return Entry(
        key=key,
        name=str(benchmark["name"]),
        nodeid=str(benchmark["fullname"]),
        machine_class=str(extra_info.get("machine_class")),
        arithmetic=str(extra_info.get("arithmetic")),
        conditions={condition: extra_info.get(condition) for condition in CONDITIONS},
        metrics={
            metric: Metric.from_record(record) for metric, record in extra_info["metrics"].items()
        },
        made=Made.from_record(extra_info.get("made") or {}),
        images=extra_info.get("images"),
        ranks=None if ranks is None else Ranks.from_record(ranks),
        file=file,
    )


def entries_of(run: Mapping[str, Any], file: str | None = None) -> dict[Key, Entry]:
    """The entries of a run record, by what tells them apart, in its order.

    Raises:
        UserError: something in it is not what it should be.
    """
    found = [entry(one, file) for one in run["benchmarks"]]
    return {one.key: one for one in found}


def read_baseline(path: Path, machine_class: str | None = None) -> Baseline | None:
    """The baseline stored at a path, None where there is none.

    Args:
        machine_class: that it has to be of; any by default.

    Raises:
        UserError: it is damaged, of a later format, or was made on another machine class.
    """
    if not path.exists():
        return None
    run = read_stored(path)
    made_on = run.get("machine_info", {}).get("machine_class")
    if machine_class is not None and made_on != machine_class:
        raise UserError(
            f"baseline {path} was made on {made_on}, and this is {machine_class}: "
            "int8 results differ between the two; move it where it belongs, and make one here "
            "with --qmodels-update-baseline"
        )
    try:
        return Baseline(path, entries_of(run, shown(path)))
    except UserError as error:
        raise UserError(f"baseline {path} is damaged ({error}): restore it from git") from None


def read_stored(path: Path) -> dict[str, Any]:
    """A stored run with what stands elsewhere in it: who made its entries, and ranks.

    Raises:
        UserError: a file is damaged, or of a format that this version does not know.
    """
    run = read_run(path)
    number = run.get("format", 1)
    if number not in (1, FORMAT):
        raise UserError(
            f"baseline {path} has format {number}, and this qmodels reads {FORMAT}: "
            "use the version that wrote it, or a later one"
        )
    ranks: dict[str, Any] = {}
    if ranks_path(path).exists():
        try:
            ranks = dict(json.loads(ranks_path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise UserError(
                f"baseline {path} is damaged ({ranks_path(path).name} can't be read): "
                "restore it from git"
            ) from None
    made = run.get("made", {})
    try:
        benchmarks = [with_the_rest(one, number, made, ranks) for one in run["benchmarks"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"baseline {path} is damaged (an entry lacks {error}): restore it from git"
        ) from None
    return {**run, "benchmarks": benchmarks}


def with_the_rest(
    benchmark: Mapping[str, Any], number: int, made: Mapping[str, Any], ranks: Mapping[str, Any]
) -> dict[str, Any]:
    """A stored benchmark with who made it, and its ranks, in its ``extra_info``.

    Args:
        number: of the file's format.
        made, ranks: of all benchmarks.
    """
    extra_info = {**benchmark["extra_info"], "made": made.get(benchmark["extra_info"].get("made"))}
    if number == 1:
        extra_info |= missing_in_format_1(benchmark["fullname"], extra_info)
    label = benchmark["fullname"] if number == 1 else benchmark["name"]
    if label in ranks:
        extra_info["ranks"] = ranks[label]
    return {**benchmark, "extra_info": extra_info}


def missing_in_format_1(fullname: str, extra_info: Mapping[str, Any]) -> dict[str, Any]:
    """What format 1 told by the path of a bench's file and by the name of its own."""
    metrics = dict(extra_info["metrics"])
    metrics.pop("rss_bytes", None)  # counted pages of shared libraries
    names = ("dataset", "architecture", "width")
    return {
        "network": network_name(*(extra_info[name] for name in names)),
        "bench": fullname.rpartition("::")[2].partition("[")[0],
        "metrics": metrics,
    }


@dataclass(frozen=True)
class Accepted:
    """What storing a run did to one file.

    Attributes:
        stored: keys of the run's entries that it has now.
        kept: how many entries of before it still has beside them.
        dropped: names of entries of before that it has no more.
        refused: lines that tell which entries of the run were not stored, and why.
    """

    path: Path
    stored: tuple[Key, ...]
    kept: int
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def accept(
    folder: Path,
    run: Mapping[str, Any],
    *,
    only: Collection[Key] | None = None,
    variants: Collection[str] | None = None,
) -> list[Accepted]:
    """Store benchmarks of a run in the baselines of their machine classes and networks.

    Latencies that belong to a run beside a base, or are of fewer processes than those stored, are
    refused: what the file has of them stays.

    Args:
        folder: of all baselines.
        run: as pytest-benchmark makes it.
        only: the entries to accept, all of the run by default.
        variants: those that there are; entries of others are dropped. None drops nothing.

    Raises:
        UserError: a file can't be written, or what is there is damaged.
    """
    paths: dict[Path, list[dict[str, Any]]] = {}
    for one in run["benchmarks"]:
        about = one["extra_info"]
        key = entry(one).key
        if only is None or key in only:
            path = baseline_path(folder, about["machine_class"], about["network"])
            paths.setdefault(path, []).append(one)
    return [accept_into(path, some, variants) for path, some in paths.items()]


def accept_into(
    path: Path, benchmarks: Sequence[dict[str, Any]], variants: Collection[str] | None = None
) -> Accepted:
    """Store benchmarks of one machine class and network in a file; see ``accept``."""
    before = read_stored(path)["benchmarks"] if path.exists() else []
    known = {entry(one).key: one for one in before}
    gone = [
        one
        for one in before
        if variants is not None and one["extra_info"]["variant"] not in variants
    ]
    everything = {key: one for key, one in known.items() if one not in gone}
    stored, refused = [], []
    for one in benchmarks:
        now = entry(one)
        old = known.get(now.key)
        reason = why_not_stored(now, entry(old) if old else None)
        if reason:
            refused.append(f"{now.name} not stored: {reason}")
        else:
            everything[now.key] = one
            stored.append(now.key)
    ordered = sorted(everything.values(), key=lambda one: str(one["name"]))
    ranks = {
        one["name"]: one["extra_info"]["ranks"] for one in ordered if "ranks" in one["extra_info"]
    }
    if stored or gone:
        machine_class = (benchmarks or before)[0]["extra_info"]["machine_class"]
        store.write_text(ranks_path(path), lines(ranks, deep=1) + "\n")
        store.write_text(path, lines(laid_out(machine_class, ordered), deep=5) + "\n")
    return Accepted(
        path,
        tuple(stored),
        len(everything) - len(stored),
        tuple(one["name"] for one in gone),
        tuple(refused),
    )


def why_not_stored(now: Entry, before: Entry | None) -> str | None:
    """Why an entry must not be stored in the place of the one before; None where it may."""
    if "latency_change" in now.metrics:
        return "it ran beside a base; store a run without one"
    for name, metric in now.metrics.items():
        old = before.metrics.get(name) if before else None
        if old and len(metric.samples) < len(old.samples):
            return (
                f"{name} is of {len(metric.samples)} processes, and the stored one of "
                f"{len(old.samples)}; make it again with --qmodels-update-baseline"
            )
    return None


def laid_out(machine_class: str, benchmarks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A run as it is stored: who made entries once for all, no raw times, no needless digits."""
    made = {}
    for one in benchmarks:
        who = one["extra_info"].get("made") or {}
        made[identity(who)] = who
    return {
        "format": FORMAT,
        "made": dict(sorted(made.items(), key=lambda one: str(one[1].get("date")))),
        "machine_info": {"machine_class": machine_class},
        "commit_info": {},
        "benchmarks": [
            {
                "fullname": one["fullname"],
                "name": one["name"],
                "group": one["group"],
                "param": one["param"],
                "params": one["params"],
                "extra_info": {
                    **{name: one["extra_info"].get(name) for name in FACTS},
                    "made": identity(one["extra_info"].get("made") or {}),
                    "metrics": one["extra_info"]["metrics"],
                },
                "stats": {name: one["stats"][name] for name in STATISTICS if name in one["stats"]},
            }
            for one in benchmarks
        ],
    }


def identity(made: Mapping[str, Any]) -> str:
    """A short name for who made an entry."""
    return store.digest_value(made)[:8]


def lines(value: Any, deep: int, indent: int = 0) -> str:
    """JSON whose objects and arrays are a line an item down to a depth, and one line below it."""
    if deep == 0 or not isinstance(value, dict | list) or not value:
        return json.dumps(rounded(value))
    space = " " * (indent + 1)
    if isinstance(value, dict):
        items = [
            f"{json.dumps(key)}: {lines(one, deep - 1, indent + 1)}" for key, one in value.items()
        ]
        opening, closing = "{", "}"
    else:
        items = [lines(one, deep - 1, indent + 1) for one in value]
        opening, closing = "[", "]"
    inside = ",\n".join(space + item for item in items)
    return f"{opening}\n{inside}\n{' ' * indent}{closing}"


def rounded(value: Any) -> Any:
    """Floats of a JSON value at ``DIGITS`` significant digits: the others are noise in a diff."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return value
