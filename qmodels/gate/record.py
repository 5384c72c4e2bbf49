"""The record of a run: pytest-benchmark's JSON, with what qmodels measured and its verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qmodels.gate import stored
from qmodels.gate.entry import Entry, Measured, Timing, bench_name
from qmodels.gate.finding import Failure, Finding
from qmodels.gate.run import Run, by_key
from qmodels.gate.stored import REMEDY, check_format
from qmodels.system import codec
from qmodels.system.errors import UserError
from qmodels.system.files import shown

# The part of a record that holds the verdicts.
SECTION = "qmodels"


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What a record says of a whole run; attributes as of ``Run``."""

    format: int
    findings: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    failures: tuple[Failure, ...]
    skipped: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Benchmark(Timing):
    """A benchmark as pytest-benchmark writes it."""

    extra_info: Measured

    @property
    def entry(self) -> Entry:
        """The benchmark as an entry, whose name is that of a session with one network."""
        measured = vars(self.extra_info)
        timing = {name: value for name, value in vars(self).items() if name != "extra_info"}
        name = bench_name(self.name, self.extra_info.network, self.extra_info.variant)
        return Entry(**measured, **timing | {"name": name})


@dataclass(frozen=True)
class MachineInfo:
    """What pytest-benchmark calls so."""

    machine_class: str | None = None


@dataclass(frozen=True)
class Record:
    """A record, whose benchmarks may be of other tests too."""

    benchmarks: tuple[Mapping[str, Any], ...]
    machine_info: MachineInfo = MachineInfo()
    verdicts: Verdicts | None = field(default=None, metadata={"key": SECTION})

    @property
    def run(self) -> Run:
        """What the record says of benches of qmodels.

        Raises:
            Malformed: it is damaged.
        """
        entries = [
            codec.decode(Benchmark, benchmark, at=f"benchmarks[{index}]").entry
            for index, benchmark in enumerate(self.benchmarks)
            if self.verdicts is None or not is_foreign(benchmark)
        ]
        run = Run(self.machine_info.machine_class, by_key(entries))
        if self.verdicts is None:
            return run
        given = {name: value for name, value in vars(self.verdicts).items() if name != "format"}
        return replace(run, **given)


def is_foreign(benchmark: Mapping[str, Any]) -> bool:
    """Whether a benchmark of a session is that of another test, without anything of qmodels."""
    extra_info = benchmark.get("extra_info")
    parts = {"network", "variant", "metrics"}
    return isinstance(extra_info, dict) and parts.isdisjoint(extra_info)


def read_run(path: Path) -> Run:
    """Read a record that pytest-benchmark wrote for this harness, or a stored run.

    Raises:
        UserError: there is no such file, it is damaged, or is of another format.
    """
    if not path.exists():
        raise UserError(f"run {path} does not exist: name a file of --benchmark-json")
    with codec.damage_as_error(shown(path), REMEDY):
        record = codec.decode(dict[str, Any], codec.parse_json(path.read_bytes()))
        if "format" in record:
            return stored.decode(record, path)
        if isinstance(record.get(SECTION), dict):
            check_format(record[SECTION], path)
        return codec.decode(Record, record).run
