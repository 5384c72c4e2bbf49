"""Put a run on record: its file of ``--benchmark-json``, or the baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.utils import safe_dumps

from qmodels import gate, report, variants
from qmodels.harness.results import Results, collect_verdicts
from qmodels.harness.settings import Settings
from qmodels.system import codec, files
from qmodels.system.errors import UserError
from qmodels.system.files import shown


def save_record(session: pytest.Session, notes: list[str], record: Mapping[str, Any]) -> None:
    """Write the record to a temporary name and rename it; a failure fails the session in a line."""
    path = Path(session.config.option.benchmark_json)
    try:
        files.write_text(path, safe_dumps(record, indent=4))  # type: ignore[no-untyped-call]
        notes.append(f"run record: {shown(path)}")
    except UserError as error:
        notes.append(f"FAILED {error}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def save_numbered(
    session: pytest.Session,
    notes: list[str],
    save: Callable[[Mapping[str, Any], str], None],
    record: Mapping[str, Any],
    name: str,
) -> None:
    """Save the record as ``--benchmark-save`` asks; a failure fails the session in a line."""
    try:
        save(record, name)
    except OSError as error:
        notes.append(
            f"FAILED run {name} can't be saved ({error}): choose another --benchmark-storage"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def write_record(session: pytest.Session, results: Sequence[Results]) -> None:
    """Write and save the record where pytest-benchmark does not, as it timed no benchmark."""
    plugin = session.config._benchmarksession  # type: ignore[attr-defined]
    path = session.config.option.benchmark_json
    name = plugin.save or plugin.autosave
    known = any(each.measured or each.failures or each.skipped for each in results)
    if plugin.benchmarks or not known or not (path or name):
        return
    record = {
        "machine_info": plugin.get_machine_info(),
        "commit_info": _commit_info(session),
        "benchmarks": [
            _as_benchmark(entry) for each in results for entry in each.measured.values()
        ],
        gate.SECTION: codec.encode(collect_verdicts(results)),
    }
    if path:
        save_record(session, results[-1].notes, record)
    if name:
        plugin.storage.save(record, name)


def _as_benchmark(entry: gate.Entry) -> dict[str, Any]:
    return {**codec.encode(entry, gate.Timing), "extra_info": codec.encode(entry, gate.Measured)}


def _commit_info(session: pytest.Session) -> Any:
    hook = session.config.hook
    return hook.pytest_benchmark_generate_commit_info(config=session.config)


def update_baseline(
    session: pytest.Session, settings: Settings, results: Results, *, passed: bool, whole: bool
) -> list[str]:
    """Store the run, and say what was written or why nothing was."""
    stored = shown(settings.baseline_path)
    if not passed:
        return [f"baseline not updated: this run failed; {stored} is as it was"]
    if not results.measured:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return [f"baseline not updated: nothing was measured; {stored} is as it was"]
    plugin = session.config._benchmarksession  # type: ignore[attr-defined]
    timed = {each.fullname: each for each in plugin.benchmarks}
    entries = [
        _with_times(entry, timed[nodeid].as_dict(include_data=False)) if nodeid in timed else entry
        for nodeid, entry in results.measured.items()
    ]
    try:
        accepted = gate.accept(
            settings.baselines,
            replace(gate.Run.from_entries(entries), skipped=results.run.skipped),
            variants=variants.all_variants(),
            whole=whole,
        )
    except UserError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return [f"baseline not updated: {error}"]
    return [line for file in accepted for line in report.describe_accepted(file)]


def _with_times(entry: gate.Entry, timed: Mapping[str, Any]) -> gate.Entry:
    times = {
        field.name: timed["stats"][field.name]
        for field in fields(gate.Stats)
        if field.name in timed["stats"]
    }
    stats = gate.Stats(**times)
    return replace(entry, stats=stats, **{k: timed[k] for k in ("group", "param", "params")})
