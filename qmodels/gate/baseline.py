"""Stored runs: pytest-benchmark's JSON, laid out for people who review a change of it.

What a run measured stands one metric a line, in the order of the benchmarks' names; who made it
(date, commit, versions, host) stands once at the top, and entries refer to it. Ranks of images are
in a file beside it, a line for each variant.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmodels import store
from qmodels.errors import UserError
from qmodels.gate.ranks import Ranks
from qmodels.metric import Metric

# Numbers taken under different ones of these are different quantities.
CONDITIONS = (
    "machine_class",
    "engine",
    "runtime",
    "architecture",
    "width",
    "dataset",
    "threads",
    "batch_size",
)
# Kept of a benchmark's extra_info beside its metrics.
FACTS = ("variant", *CONDITIONS, "arithmetic", "images", "checkpoint", "int8_saturates", "cpus")
# Other versions of these make another program of the same code. Python counts to its minor version.
DECISIVE = ("python", "torch")
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


@dataclass(frozen=True)
class Entry:
    """One benchmark of a run: the variant, its conditions, what was measured, and who did."""

    variant: str
    conditions: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    made: Made
    images: int | None = None
    ranks: Ranks | None = None


@dataclass(frozen=True)
class Baseline:
    """A stored run, by benchmark (pytest's node id)."""

    path: Path
    entries: Mapping[str, Entry]

    @property
    def shown(self) -> Path:
        """The path as people type it: from here, where it is below."""
        here = Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path


def baseline_path(folder: Path, machine_class: str, dataset: str, model: str, width: int) -> Path:
    """Where the baseline of one machine class, data set, architecture and width is stored."""
    return folder / machine_class / f"{dataset}-{model}-w{width}.json"


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
            benchmark["fullname"], benchmark["extra_info"]["metrics"].items()
    except FileNotFoundError:
        raise UserError(f"run {path} does not exist: name a file of --benchmark-json") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"run {path} is damaged, or not of pytest-benchmark with qmodels' metrics: restore it "
            "from git, or delete it and make it again with --qmodels-update-baseline"
        ) from None
    return dict(run)


def entry(extra_info: Mapping[str, Any]) -> Entry:
    """What the gate compares, from a benchmark's ``extra_info`` in a run record.

    Raises:
        UserError: a metric is not one.
    """
    ranks = extra_info.get("ranks")
    return Entry(
        variant=str(extra_info.get("variant")),
        conditions={name: extra_info.get(name) for name in CONDITIONS},
        metrics={
            name: Metric.from_record(record) for name, record in extra_info["metrics"].items()
        },
        made=Made.from_record(extra_info.get("made") or {}),
        images=extra_info.get("images"),
        ranks=None if ranks is None else Ranks.from_record(ranks),
    )


def read_baseline(path: Path, machine_class: str | None = None) -> Baseline | None:
    """The baseline stored at a path, None where there is none.

    Args:
        machine_class: that it has to be of; any by default.

    Raises:
        UserError: it is damaged, or was made on another machine class.
    """
    if not path.exists():
        return None
    run = read_run(path)
    made_on = run.get("machine_info", {}).get("machine_class")
    if machine_class is not None and made_on != machine_class:
        raise UserError(
            f"baseline {path} was made on {made_on}, and this is {machine_class}: "
            "int8 results differ between the two; move it where it belongs, and make one here "
            "with --qmodels-update-baseline"
        )
    try:
        entries = {one["fullname"]: entry(one["extra_info"]) for one in whole(path, run)}
    except UserError as error:
        raise UserError(f"baseline {path} is damaged ({error}): restore it from git") from None
    return Baseline(path, entries)


def whole(path: Path, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The benchmarks of a stored run with what stands elsewhere: who made them, and ranks.

    Raises:
        UserError: the file of the ranks is damaged.
    """
    ranks = {}
    if ranks_path(path).exists():
        try:
            ranks = dict(json.loads(ranks_path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise UserError(f"{ranks_path(path).name} can't be read") from None
    made = run.get("made", {})
    benchmarks = []
    for one in run["benchmarks"]:
        extra_info = {**one["extra_info"], "made": made.get(one["extra_info"].get("made"))}
        if one["fullname"] in ranks:
            extra_info["ranks"] = ranks[one["fullname"]]
        benchmarks.append({**one, "extra_info": extra_info})
    return benchmarks


def vanished(baseline: Baseline | None, ran: Sequence[str], excused: Sequence[str]) -> list[str]:
    """Benchmarks of the baseline that neither ran nor were left out on purpose."""
    if baseline is None:
        return []
    accounted = {*ran, *excused}
    return [name for name in baseline.entries if name not in accounted]


def accept(path: Path, run: Mapping[str, Any], only: Iterable[str] | None = None) -> int:
    """Store benchmarks of a run in the baseline; returns how many other entries it kept.

    Args:
        run: as pytest-benchmark makes it.
        only: the benchmarks to accept, all of the run by default.

    Raises:
        UserError: the file can't be written, or what is there is damaged.
    """
    chosen = {one["fullname"] for one in run["benchmarks"]} if only is None else set(only)
    accepted = [one for one in run["benchmarks"] if one["fullname"] in chosen]
    kept = []
    if path.exists():
        stored = read_run(path)
        kept = [one for one in whole(path, stored) if one["fullname"] not in chosen]
    everything = sorted((*accepted, *kept), key=lambda one: str(one["fullname"]))
    ranks = {
        one["fullname"]: one["extra_info"]["ranks"]
        for one in everything
        if "ranks" in one["extra_info"]
    }
    store.write_text(ranks_path(path), lines(ranks, deep=1) + "\n")
    store.write_text(path, lines(laid_out(run, everything), deep=5) + "\n")
    return len(kept)


def laid_out(run: Mapping[str, Any], benchmarks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A run as it is stored: who made entries once for all, no raw times, no needless digits."""
    made = {}
    for one in benchmarks:
        who = one["extra_info"].get("made") or {}
        made[identity(who)] = who
    return {
        "made": dict(sorted(made.items(), key=lambda one: str(one[1].get("date")))),
        "machine_info": {"machine_class": run["machine_info"]["machine_class"]},
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
