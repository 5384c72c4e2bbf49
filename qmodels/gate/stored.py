"""Files of stored runs, laid out for people who review a change of one.

Each metric has a line of its own, in the order of the benchmarks' names. Provenance (date, commit,
versions, host) stands once at the top, and entries refer to it. So does the function that gives
the network. Two files beside it have a line for each benchmark: the ranks of images, and the times
that pytest-benchmark compares with. The latter also holds the profiler's tables, as what
pytest-benchmark calls extra information.
"""

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from qmodels.gate.details import NO_DETAILS, Details
from qmodels.gate.entry import About, Entry, Provenance, Timing
from qmodels.gate.ranks import Ranks
from qmodels.gate.run import Run, by_key, by_reason
from qmodels.gate.scores import Scores
from qmodels.measure.metric import Metric
from qmodels.system import codec, files, store
from qmodels.system.codec import Malformed
from qmodels.system.converter import expect
from qmodels.system.errors import UserError
from qmodels.system.files import shown

# The format of stored runs and of records. Only ``history`` reads earlier ones:
# 1: It had no number. It was pytest-benchmark's record, with who measured an entry.
# 2: It has the number.
# 3: It has a line for each metric. What pytest-benchmark compares with is in a file beside it.
# 4: It has the function that gives the network, and a digest of its module. Before, it had the data
#    set, architecture, width and checkpoint. A key whose value is the default may be absent.
FORMAT = 4
_DIGITS = 6
REMEDY = (
    "it is damaged, or holds no metrics of qmodels: restore it from git, or delete it and make it "
    "again with --qmodels-update-baseline"
)
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class _StoredAbout(About):
    bench_id: str
    provenance: str


@dataclass(frozen=True)
class _StoredEntry:
    """In JSON ``about``, and beside it each metric."""

    about: _StoredAbout
    metrics: Mapping[str, Metric]


def _decode_entry(record: Any) -> _StoredEntry:
    expect(isinstance(record, dict), "an object")
    about = codec.decode(_StoredAbout, record.get("about"), at="about")
    metrics = {name: value for name, value in record.items() if name != "about"}
    return _StoredEntry(about, codec.decode(dict[str, Metric], metrics))


codec.register(_StoredEntry, _decode_entry)


@dataclass(frozen=True, kw_only=True)
class _StoredRun:
    format: int
    partial: bool = False
    machine_class: str
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: Mapping[str, Any]
    provenance: Mapping[str, Provenance]
    entries: Mapping[str, _StoredEntry]


@dataclass(frozen=True, kw_only=True)
class _StoredTiming(Timing):
    extra_info: Details = NO_DETAILS


@dataclass(frozen=True)
class _TimesFile:
    """The file that pytest-benchmark compares with."""

    benchmarks: tuple[_StoredTiming, ...]


def decode(record: Mapping[str, Any], path: Path) -> Run:
    """The run of a stored file, and of those beside it."""
    check_format(record, path)
    stored = codec.decode(_StoredRun, record)
    by_image = _read_beside(ranks_path(path), dict[str, Ranks | Scores | None], {})
    times = _read_beside(times_path(path), _TimesFile, _TimesFile(()))
    timings = {timing.name: timing for timing in times.benchmarks}
    entries = [
        Entry(
            **_with_provenance(stored, name),
            name=name,
            machine_class=stored.machine_class,
            source=stored.source,
            metrics=entry.metrics,
            by_image=by_image.get(name),
            file=shown(path),
            **(_pick_timing(timings[name]) if name in timings else {}),
        )
        for name, entry in stored.entries.items()
    ]
    return Run(stored.machine_class, by_key(entries), stored.partial, skipped=dict(stored.skipped))


def _with_provenance(stored: _StoredRun, name: str) -> dict[str, Any]:
    about = vars(stored.entries[name].about)
    provenance = stored.provenance.get(about["provenance"])
    if provenance is None:
        where = codec.join("entries", name) + ".about.provenance"
        raise Malformed(where, f"the file has no provenance {about['provenance']!r}")
    others = {key: value for key, value in about.items() if key != "bench_id"}
    return {**others, "nodeid": about["bench_id"], "provenance": provenance}


def _pick_timing(timing: _StoredTiming) -> dict[str, Any]:
    own = {name: getattr(timing, name) for name in ("group", "param", "params", "stats")}
    return {**own, "profile": timing.extra_info.profile}


def _read_beside(path: Path, kind: type[_T], absent: _T) -> _T:
    if not path.exists():
        return absent
    with codec.damage_as_error(shown(path), REMEDY):
        return codec.decode(kind, codec.parse_json(path.read_bytes()))


def check_format(record: Mapping[str, Any], path: Path) -> None:
    """Refuse a record of another format than this code's."""
    number = record.get("format")
    if number != FORMAT:
        raise UserError(
            f"run {shown(path)} has format {number!r}, and this qmodels reads {FORMAT}: "
            "use the version that wrote it, or make it again with --qmodels-update-baseline"
        )


def write(
    path: Path,
    machine_class: str,
    entries: Sequence[Entry],
    skipped: Mapping[str, str],
    *,
    partial: bool,
) -> None:
    """Write a stored run and the files beside it.

    Args:
        skipped: why variants could not run, by their names.
    """
    ordered = sorted(entries, key=lambda entry: entry.name)
    makers = {_short_name(entry.provenance): entry.provenance for entry in ordered}
    stored = _StoredRun(
        format=FORMAT,
        partial=partial,
        machine_class=machine_class,
        skipped=by_reason(skipped),
        source=max(entries, key=lambda entry: entry.provenance.date).source,
        provenance=dict(sorted(makers.items(), key=lambda maker: maker[1].date)),
        entries={},
    )
    record = codec.encode(stored) | {
        "entries": {entry.name: _as_stored(entry) for entry in ordered}
    }
    ranks = {entry.name: codec.encode(entry.by_image) for entry in ordered if entry.by_image}
    times = {
        "machine_info": {"machine_class": machine_class},
        "commit_info": {},
        "benchmarks": [_as_times(entry) for entry in ordered],
    }
    texts = {
        ranks_path(path): _layout(ranks, deep=1),
        times_path(path): _layout(times, deep=2),
        path: _layout(record, deep=3),
    }
    for file, text in texts.items():
        files.write_text(file, text + "\n")


def _as_stored(entry: Entry) -> dict[str, Any]:
    others = {"bench_id": entry.nodeid, "provenance": _short_name(entry.provenance)}
    about = {**codec.encode(entry, About), **others}
    return {"about": about, **codec.encode(entry.metrics)}


def _as_times(entry: Entry) -> dict[str, Any]:
    timing = replace(
        entry,
        params=entry.params
        and {name: _as_parameter(value) for name, value in entry.params.items()},
        stats=replace(entry.stats, data=()),
    )
    # pytest-benchmark reads these keys whether they have values or not.
    keys = dict.fromkeys(("name", "fullname", "group", "param", "params"))
    profile = {"profile": codec.encode(entry.profile)}
    return {
        **keys,
        "stats": {},
        **codec.encode(timing, Timing),
        **({"extra_info": profile} if entry.profile else {}),
    }


def _as_parameter(value: Any) -> Any:
    """A parameter of a bench as a file can hold it: a list or an object is a text."""
    return value if isinstance(value, str | int | float | None) else reprlib.repr(value)


def _short_name(provenance: Provenance) -> str:
    return store.digest_value(codec.encode(provenance))[:8]


def ranks_path(path: Path) -> Path:
    """The file beside a stored run that holds the ranks of its images."""
    return path.with_suffix(".ranks.json")


def times_path(path: Path) -> Path:
    """The file beside a stored run that pytest-benchmark compares with: times of the benches."""
    return path.with_suffix(".times.json")


def _layout(value: Any, deep: int, indent: int = 0) -> str:
    """JSON with one item per line down to ``deep``, compact below; lists of texts are compact."""
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if deep == 0 or texts or not isinstance(value, dict | list) or not value:
        return json.dumps(_round_floats(value))
    space = " " * (indent + 1)
    if isinstance(value, dict):
        items = [
            f"{json.dumps(key)}: {_layout(item, deep - 1, indent + 1)}"
            for key, item in value.items()
        ]
        opening, closing = "{", "}"
    else:
        items = [_layout(item, deep - 1, indent + 1) for item in value]
        opening, closing = "[", "]"
    inside = ",\n".join(space + item for item in items)
    return f"{opening}\n{inside}\n{' ' * indent}{closing}"


def _round_floats(value: Any) -> Any:
    """Floats of a JSON value at ``_DIGITS`` significant digits: the others are noise in a diff."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _round_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_round_floats(item) for item in value]
    return value
