"""The record of a run: pytest-benchmark's JSON, with what qmodels measured and its verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    """The verdicts on a whole run in its record; attributes as of ``Run``."""

    format: int
    findings: tuple[Finding, ...]
    gone: tuple[Finding, ...]
    failures: tuple[Failure, ...]
    skipped: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class _Benchmark(Timing):
    extra_info: Measured

    def entry(self, file: str) -> Entry:
        measured = vars(self.extra_info)
        timing = {name: value for name, value in vars(self).items() if name != "extra_info"}
        name = bench_name(self.name, self.extra_info.network, self.extra_info.variant)
        return Entry(**measured, **timing | {"name": name, "file": file})


@dataclass(frozen=True)
class _MachineInfo:
    machine_class: str | None = None


@dataclass(frozen=True)
class _RunRecord:
    benchmarks: tuple[Mapping[str, Any], ...]
    machine_info: _MachineInfo = _MachineInfo()


def decode(record: Mapping[str, Any], path: Path) -> Run:
    """The run of a record."""
    verdicts: dict[str, Any] = {}
    if SECTION in record:
        section = codec.decode(dict[str, Any], record[SECTION], at=SECTION)
        check_format(section, path)
        verdicts = vars(codec.decode(Verdicts, section, at=SECTION))
    whole = codec.decode(_RunRecord, record)
    entries = [
        codec.decode(_Benchmark, benchmark, at=f"benchmarks[{index}]").entry(shown(path))
        for index, benchmark in enumerate(whole.benchmarks)
        if not verdicts or not _is_foreign(benchmark)
    ]
    given = {name: value for name, value in verdicts.items() if name != "format"}
    return Run(whole.machine_info.machine_class, by_key(entries), **given)


def _is_foreign(benchmark: Mapping[str, Any]) -> bool:
    """Whether a benchmark of a session is that of another test, without anything of qmodels."""
    extra_info = benchmark.get("extra_info")
    parts = {"network", "variant", "metrics"}
    return isinstance(extra_info, dict) and parts.isdisjoint(extra_info)


def read_run(path: Path) -> Run:
    """Read a record that pytest-benchmark wrote for this harness, or a stored run."""
    if not path.exists():
        raise UserError(f"run {path} does not exist: name a file of --benchmark-json")
    with codec.damage_as_error(shown(path), REMEDY):
        record = codec.decode(dict[str, Any], codec.parse_json(path.read_bytes()))
        if "format" in record:
            return stored.decode(record, path)
        return decode(record, path)
