"""Store runs as baselines, laid out for people who review a change of one.

Each metric has a line of its own, in the order of the benchmarks' names. Provenance (date, commit,
versions, host) stands once at the top, and entries refer to it. So does the function that gives
the network. Two files beside it have a line for
each benchmark: the ranks of images, and the times that pytest-benchmark compares with. The latter
also holds the profiler's tables, as what pytest-benchmark calls extra information.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmodels.gate.baseline import baseline_path
from qmodels.gate.details import Details
from qmodels.gate.entry import Entry, Key, Provenance
from qmodels.gate.run import FORMAT, Run, by_reason, ranks_path, read_run, reasons_of, times_path
from qmodels.measure.metrics import LATENCY_CHANGE
from qmodels.system import files, store
from qmodels.system.errors import UserError

# The statistics that pytest-benchmark needs to print a comparison.
STATISTICS = (
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
)
DIGITS = 6


@dataclass(frozen=True)
class Accepted:
    """What storing a run did to one file.

    Attributes:
        stored: keys of the run's entries that the file has now.
        kept: the number of earlier entries that it still has beside them.
        dropped: names of earlier entries that it no longer has.
        refused: lines that say which entries of the run were not stored, and why.
    """

    path: Path
    stored: tuple[Key, ...]
    kept: int
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def accept(
    folder: Path,
    run: Run,
    *,
    only: Collection[Key] | None = None,
    variants: Collection[str] | None = None,
    whole: bool = False,
) -> list[Accepted]:
    """Store entries of a run in the baselines of their machine classes and networks.

    A file that begins with a part of a run is marked as partial, until a whole run is stored in it.

    Latencies that were measured against a base revision, or in fewer processes than the stored
    ones, are refused. The file keeps its own.

    Args:
        folder: of all baselines.
        only: the entries to accept, all of the run by default.
        variants: those that exist; entries of others are dropped. None drops nothing.
        whole: whether the run has all that this machine can measure.

    Raises:
        UserError: a file can't be written, or what is there is damaged.
    """
    by_path: dict[Path, list[Entry]] = {}
    for key, entry in run.entries.items():
        if only is None or key in only:
            path = baseline_path(folder, entry.machine_class, key.network)
            by_path.setdefault(path, []).append(entry)
    return [
        accept_into(path, entries, variants, whole=whole, skipped=run.skipped)
        for path, entries in by_path.items()
    ]


def accept_into(
    path: Path,
    entries: Sequence[Entry],
    variants: Collection[str] | None = None,
    *,
    whole: bool = False,
    skipped: Mapping[str, Sequence[str]] | None = None,
) -> Accepted:
    """Store entries of one machine class and network in a file; see ``accept``.

    Args:
        skipped: variants that could not run, by the reason. The file keeps the reason of each
            that it has no entry of.

    Raises:
        UserError: as for ``accept``, or the file is of another class than an entry.
    """
    there = read_run(path) if path.exists() else None
    for entry in entries:
        if there and there.machine_class != entry.machine_class:
            raise UserError(
                f"baseline {path} is of {there.machine_class}, and {entry.name} was measured on "
                f"{entry.machine_class}: leave out --baseline, or name a file of that class"
            )
    before = there.entries if there else {}
    partial = not whole and (there is None or there.partial)
    dropped = [
        entry for entry in before.values() if variants is not None and entry.variant not in variants
    ]
    after = {key: entry for key, entry in before.items() if entry not in dropped}
    stored, refused = [], []
    for entry in entries:
        reason = refusal(entry, before.get(entry.key))
        if reason:
            refused.append(f"{entry.name} not stored: {reason}")
        else:
            after[entry.key] = entry
            stored.append(entry.key)
    if stored or dropped:
        machine_class = [*entries, *before.values()][0].machine_class
        reasons = {**(reasons_of(there.skipped) if there else {}), **reasons_of(skipped or {})}
        for name in {entry.variant for entry in (*after.values(), *dropped)}:
            reasons.pop(name, None)
        write(path, machine_class, list(after.values()), reasons, partial=partial)
    return Accepted(
        path,
        tuple(stored),
        len(after) - len(stored),
        tuple(entry.name for entry in dropped),
        tuple(refused),
    )


def refusal(now: Entry, before: Entry | None) -> str | None:
    """Why an entry must not replace the one before; None where it may."""
    if LATENCY_CHANGE.name in now.metrics:
        return "it was measured against a base revision; store a run without --qmodels-base"
    for name, stored in (before.metrics if before else {}).items():
        if name in now.unmeasured:
            return (
                f"it lacks {name} ({now.unmeasured[name]}), and the stored one has it; "
                "make it again on a machine that measures it"
            )
        count = len(now.metrics[name].samples) if name in now.metrics else 0
        if count < len(stored.samples):
            return (
                f"{name} is of {count} processes, and the stored one of {len(stored.samples)}; "
                "make it again with --qmodels-update-baseline"
            )
    return None


def write(
    path: Path,
    machine_class: str,
    entries: Sequence[Entry],
    skipped: Mapping[str, str],
    *,
    partial: bool,
) -> None:
    """Write a stored run and the ranks beside it.

    Args:
        skipped: why variants could not run, by their names.

    Raises:
        UserError: a file can't be written.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    ranks = {entry.name: entry.by_image.as_record() for entry in ordered if entry.by_image}
    makers = {short_name(entry.provenance): entry.provenance for entry in ordered}
    record = {
        "format": FORMAT,
        **({"partial": True} if partial else {}),
        "machine_class": machine_class,
        **({"skipped": by_reason(skipped)} if skipped else {}),
        "source": dict(max(entries, key=lambda entry: entry.provenance.date).source),
        "provenance": {
            name: maker.as_record()
            for name, maker in sorted(makers.items(), key=lambda item: item[1].date)
        },
        "entries": {entry.name: as_record(entry) for entry in ordered},
    }
    times = {
        "machine_info": {"machine_class": machine_class},
        "commit_info": {},
        "benchmarks": [times_of(entry) for entry in ordered],
    }
    files.write_text(ranks_path(path), layout(ranks, deep=1) + "\n")
    files.write_text(times_path(path), layout(times, deep=2) + "\n")
    files.write_text(path, layout(record, deep=3) + "\n")


def as_record(entry: Entry) -> dict[str, Any]:
    """An entry as stored runs hold it: what it is about, then its metrics."""
    return {
        "about": {
            **{key: value for key, value in entry.about().items() if key != "source"},
            "bench_id": entry.nodeid,
            "provenance": short_name(entry.provenance),
        },
        **{name: metric.as_record() for name, metric in entry.metrics.items()},
    }


def times_of(entry: Entry) -> dict[str, Any]:
    """What pytest-benchmark needs of an entry, as its JSON has it, and the profiler's table."""
    timing = entry.timing
    profile = Details(profile=entry.details.profile).as_record()
    return {
        "name": entry.name,
        "fullname": entry.nodeid,
        "group": timing.group,
        "param": timing.param,
        "params": timing.params,
        "stats": {name: timing.stats[name] for name in STATISTICS if name in timing.stats},
        **({"extra_info": profile} if profile else {}),
    }


def short_name(provenance: Provenance) -> str:
    """The name that entries of a stored run refer to a provenance with."""
    return store.digest_value(provenance.as_record())[:8]


def layout(value: Any, deep: int, indent: int = 0) -> str:
    """JSON with one item per line down to ``deep``, compact below."""
    if deep == 0 or not isinstance(value, dict | list) or not value:
        return json.dumps(round_floats(value))
    space = " " * (indent + 1)
    if isinstance(value, dict):
        items = [
            f"{json.dumps(key)}: {layout(item, deep - 1, indent + 1)}"
            for key, item in value.items()
        ]
        opening, closing = "{", "}"
    else:
        items = [layout(item, deep - 1, indent + 1) for item in value]
        opening, closing = "[", "]"
    inside = ",\n".join(space + item for item in items)
    return f"{opening}\n{inside}\n{' ' * indent}{closing}"


def round_floats(value: Any) -> Any:
    """Floats of a JSON value at ``DIGITS`` significant digits: the others are noise in a diff."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: round_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [round_floats(item) for item in value]
    return value
