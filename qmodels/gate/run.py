"""A run as a value, read from pytest-benchmark's JSON or from a stored baseline.

Raw records are read here and in ``entry``, and nowhere else. Stored files have a format number.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qmodels.gate.entry import Entry, Key, MalformedEntry, entry
from qmodels.gate.finding import Failure, Finding
from qmodels.system.errors import UserError

FORMAT = 4
# The part of a run's record that holds its verdicts.
SECTION = "qmodels"


@dataclass(frozen=True)
class Run:
    """All benchmarks of a run.

    Attributes:
        machine_class: of the processor; None where the record does not say.
        entries: in the order of the record.
        partial: whether a stored file has only what was accepted of its machine class; the rest
            is in the file of the nearest class.
        findings: the verdicts of the run itself; None of one that gave none, as a stored one.
        gone: findings on entries of its baseline that it should have measured and did not.
        failures: benches that failed and measured nothing.
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
        """What is about one of several networks."""
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

    @staticmethod
    def from_record(record: Mapping[str, Any], *, file: str | None = None) -> "Run":
        """Read pytest-benchmark's JSON with qmodels' metrics; other tests' benchmarks are left out.

        Args:
            file: the path of the record, as people type it.

        Raises:
            UserError: the record is malformed.
        """
        with damage_as_error(file):
            benchmarks = record["benchmarks"]
            if SECTION in record:
                benchmarks = [timed for timed in benchmarks if not is_foreign(timed)]
            entries = [entry(benchmark, file=file) for benchmark in benchmarks]
            run = Run(record.get("machine_info", {}).get("machine_class"), by_key(entries))
            if SECTION not in record:
                return run
            section = record[SECTION]
            check_format(section, file)
            return replace(
                run,
                findings=tuple(map(Finding.from_record, section["findings"])),
                gone=tuple(map(Finding.from_record, section["gone"])),
                failures=tuple(Failure(*failure) for failure in section["failures"]),
                skipped=names_by_reason(section),
            )

    @staticmethod
    def from_stored(
        record: Mapping[str, Any],
        ranks: Mapping[str, Any],
        times: Mapping[str, Any],
        *,
        file: str | None = None,
    ) -> "Run":
        """Read a stored run, which ``accept`` wrote.

        Args:
            ranks: records of ranks by the name of a benchmark.
            times: what pytest-benchmark measured, as its JSON has it.
            file: the path of the record, as people type it.

        Raises:
            UserError: the record is malformed, or of another format.
        """
        with damage_as_error(file):
            check_format(record, file)
            timings = {benchmark["name"]: benchmark for benchmark in times.get("benchmarks", ())}
            entries = []
            for name, stored in record["entries"].items():
                about = dict(stored["about"])
                about["provenance"] = record["provenance"][about["provenance"]]
                about["machine_class"] = record["machine_class"]
                about["source"] = record["source"]
                about["metrics"] = {key: stored[key] for key in stored if key != "about"}
                about["ranks"] = ranks.get(name)
                timed = timings.get(name, {})
                about["profile"] = timed.get("extra_info", {}).get("profile", ())
                benchmark = {**timed, "name": name, "fullname": about["bench_id"]}
                entries.append(entry({**benchmark, "extra_info": about}, file=file))
            return Run(
                record["machine_class"],
                by_key(entries),
                bool(record.get("partial")),
                skipped=names_by_reason(record),
            )


def check_format(record: Mapping[str, Any], file: str | None) -> None:
    """Raise UserError where a record is of another format than this code's."""
    if record.get("format") != FORMAT:
        raise UserError(
            f"run {file} has format {record.get('format')}, and this qmodels reads {FORMAT}: "
            "use the version that wrote it, or make it again with --qmodels-update-baseline"
        )


def is_foreign(benchmark: Mapping[str, Any]) -> bool:
    """Whether a benchmark of a session is that of another test, without anything of qmodels."""
    return {"network", "variant", "metrics"}.isdisjoint(benchmark["extra_info"])


def names_by_reason(record: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The variants that could not run, by the reason, from a part of a record."""
    skipped = record.get("skipped", {})
    return {str(why): tuple(map(str, names)) for why, names in skipped.items()}


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


@contextmanager
def damage_as_error(file: str | None) -> Iterator[None]:
    """Whatever the block meets in a malformed record is one line."""
    name = f"run {file}" if file else "the run"
    try:
        yield
    except KeyError as error:
        raise damage_error(name, f"an entry lacks {error}") from None
    except (MalformedEntry, TypeError, ValueError, AttributeError) as error:
        raise damage_error(name, str(error)) from None


def damage_error(name: str, reason: str) -> UserError:
    """The error that refuses a file, with the remedy."""
    return UserError(
        f"{name} is damaged, or holds no metrics of qmodels ({reason}): "
        "restore it from git, or delete it and make it again with --qmodels-update-baseline"
    )


def read_run(path: Path) -> Run:
    """Read a file that pytest-benchmark wrote for this harness, or a stored baseline.

    Raises:
        UserError: there is no such file, or it or its ranks can't be read.
    """
    if not path.exists():
        raise UserError(f"run {path} does not exist: name a file of --benchmark-json")
    record = read_json(path)
    if "format" not in record:
        return Run.from_record(record, file=shown(path))
    beside = (ranks_path(path), times_path(path))
    ranks, times = (read_json(other) if other.exists() else {} for other in beside)
    return Run.from_stored(record, ranks, times, file=shown(path))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: the file can't be read, or holds something else.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"run {path} can't be read ({error.strerror}): check its folder and its mode"
        ) from None
    try:
        decoded = text.decode("utf-8-sig")
        record = dict(json.loads(decoded, parse_constant=refuse_number, parse_float=finite))
        json.dumps(record, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return record
    except (ValueError, TypeError) as error:
        raise damage_error(f"run {path}", str(error)) from None


def finite(text: str) -> float:
    """A number of a record."""
    value = float(text)
    return value if math.isfinite(value) else refuse_number(text)


def refuse_number(text: str) -> float:
    """Raise ValueError: nothing that is measured is infinite, or no number."""
    raise ValueError(f"it holds the number {text}")


def ranks_path(path: Path) -> Path:
    """The file beside a stored run that holds the ranks of its images."""
    return path.with_suffix(".ranks.json")


def times_path(path: Path) -> Path:
    """The file beside a stored run that pytest-benchmark compares with: times of the benches."""
    return path.with_suffix(".times.json")


def shown(path: Path) -> str:
    """A path as people type it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
