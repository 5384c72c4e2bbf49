"""A run as a value, read from pytest-benchmark's JSON or from a stored baseline.

Raw records are read here and in ``entry``, and nowhere else. Stored files have a format number.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qmodels.gate.entry import Entry, Key, MalformedEntry, entry
from qmodels.gate.finding import Failure, Finding
from qmodels.system.errors import UserError

FORMAT = 2
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
    """

    machine_class: str | None
    entries: Mapping[Key, Entry]
    partial: bool = False
    findings: tuple[Finding, ...] | None = None
    gone: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()

    @staticmethod
    def of(entries: Iterable[Entry]) -> "Run":
        """Entries that were not stored, as a run."""
        return Run(None, {entry.key: entry for entry in entries})

    def alone(self) -> "Run":
        """This run without its own verdicts and without what a base measured beside it."""
        entries = {key: replace(entry, base=None) for key, entry in self.entries.items()}
        return replace(self, entries=entries, findings=None)

    @staticmethod
    def from_record(
        record: Mapping[str, Any],
        *,
        ranks: Mapping[str, Any] | None = None,
        file: str | None = None,
    ) -> "Run":
        """Read pytest-benchmark's JSON with qmodels' metrics, or a stored baseline.

        Args:
            ranks: records of ranks by benchmark, where they are not in the record itself.
            file: the path of the record, as people type it.

        Raises:
            UserError: the record is malformed, or of another format.
        """
        name = f"run {file}" if file else "the run"
        try:
            number = record.get("format", FORMAT)  # pytest-benchmark writes none
            if number != FORMAT:
                raise UserError(
                    f"{name} has format {number}, and this qmodels reads {FORMAT}: "
                    "use the version that wrote it, or make it again with --qmodels-update-baseline"
                )
            makers = record.get("made", {})
            machine_class = record.get("machine_info", {}).get("machine_class")
            entries = [
                entry(complete(benchmark, makers, ranks or {}), file=file)
                for benchmark in record["benchmarks"]
            ]
            failures: list[Failure] = []
            findings: tuple[Finding, ...] | None = None
            gone: tuple[Finding, ...] = ()
            if SECTION in record:
                section = record[SECTION]
                findings = tuple(map(Finding.from_record, section["findings"]))
                gone = tuple(map(Finding.from_record, section["gone"]))
                failures += [Failure(*one) for one in section["failures"]]
        except KeyError as error:
            raise damaged(name, f"an entry lacks {error}") from None
        except (MalformedEntry, TypeError, ValueError, AttributeError) as error:
            raise damaged(name, str(error)) from None
        by_key = {entry.key: entry for entry in entries}
        return Run(
            machine_class,
            by_key,
            bool(record.get("partial")),
            findings,
            gone,
            tuple(failures),
        )


def damaged(name: str, reason: str) -> UserError:
    """The error that refuses a file, with the remedy."""
    return UserError(
        f"{name} is damaged, or holds no metrics of qmodels ({reason}): "
        "restore it from git, or delete it and make it again with --qmodels-update-baseline"
    )


def complete(
    benchmark: Mapping[str, Any],
    makers: Mapping[str, Any],
    ranks: Mapping[str, Any],
) -> dict[str, Any]:
    """A benchmark's record, with what stands elsewhere in a stored run filled in.

    Args:
        makers: provenance by the short name that entries refer to it with.
        ranks: by benchmark.
    """
    extra_info = dict(benchmark["extra_info"])
    if not isinstance(extra_info.get("made"), Mapping):
        extra_info["made"] = makers.get(str(extra_info.get("made")))
    if benchmark["name"] in ranks:
        extra_info["ranks"] = ranks[benchmark["name"]]
    return {**benchmark, "extra_info": extra_info}


def read_run(path: Path) -> Run:
    """Read a file that pytest-benchmark wrote for this harness, or a stored baseline.

    Raises:
        UserError: there is no such file, or it or its ranks can't be read.
    """
    if not path.exists():
        raise UserError(f"run {path} does not exist: name a file of --benchmark-json")
    record = read_json(path)
    ranks = read_json(ranks_path(path)) if ranks_path(path).exists() else {}
    return Run.from_record(record, ranks=ranks, file=shown(path))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: the file can't be read, or holds something else.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise damaged(f"run {path}", str(error)) from None


def ranks_path(path: Path) -> Path:
    """The file beside a stored run that holds the ranks of its images."""
    return path.with_suffix(".ranks.json")


def network_name(dataset: str, architecture: str, width: int) -> str:
    """The name of a network, as stored files have it too."""
    return f"{dataset}-{architecture}-w{width}"


def shown(path: Path) -> str:
    """A path as people type it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
