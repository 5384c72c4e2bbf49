"""What a run measured, what it did not measure, and the verdicts: collected, and put on record."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.utils import safe_dumps

from qmodels import gate, report, variants
from qmodels.gate.run import SECTION
from qmodels.harness.missing import missing_entries, removed_variants
from qmodels.harness.options import SETTINGS, is_worker
from qmodels.harness.records import MEASURED
from qmodels.harness.settings import Settings
from qmodels.system import machine, store
from qmodels.system.errors import UserError

# With these pytest shows something and runs nothing.
SHOWING = (
    "collectonly",
    "showfixtures",
    "show_fixtures_per_test",
    "cacheshow",
    "setuponly",
    "setupplan",
)


@dataclass(eq=False)  # pytest keeps its plugins in sets
class SessionResults:
    """What happened so far.

    It listens to pytest's reports, which also come from other processes (pytest-xdist).

    Attributes:
        measured: records of benchmarks, as ``gate.entry`` reads them, by node id.
        failures: benches that failed and measured nothing, by node id.
        skipped: variants of benches that were skipped, in order, by the reason.
        deselected: node ids of benches that were not asked for.
        findings: of measured benchmarks, by node id.
        gone: findings on stored entries that were not measured and should have been.
        problems: lines of what fails the run where a baseline is required.
        notes: other lines for the end of the run.
    """

    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, gate.Failure] = field(default_factory=dict)
    skipped: dict[str, dict[str, None]] = field(default_factory=dict)
    deselected: list[str] = field(default_factory=list)
    findings: dict[str, list[gate.Finding]] = field(default_factory=dict)
    gone: list[gate.Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def entries(self) -> list[gate.Entry]:
        """The benchmarks that were measured."""
        return [gate.entry(record) for record in self.measured.values()]

    @property
    def run(self) -> gate.Run:
        """What was measured, and what was not, as a run without verdicts."""
        return replace(
            gate.Run.from_entries(self.entries),
            failures=tuple(self.failures.values()),
            skipped={why: tuple(names) for why, names in self.skipped.items()},
        )

    @property
    def verdicts(self) -> list[gate.Finding]:
        """All findings."""
        return [
            *(finding for findings in self.findings.values() for finding in findings),
            *self.gone,
        ]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a benchmark's record, or the reason of its failure.

        The last attempt counts, where a plugin runs a bench again.
        """
        name = report.nodeid
        if report.when == "setup":
            for attempt in (self.measured, self.failures, self.findings):
                attempt.pop(name, None)
        record = getattr(report, "qmodels", None)
        if record is not None and report.when == "call":
            self.measured[name] = record["benchmark"]
            self.findings[name] = [
                gate.Finding.from_record(values) for values in record["findings"]
            ]
            self.notes += record["notes"]
        elif report.failed and name not in self.measured:
            self.failures[name] = gate.Failure(
                name.rpartition("::")[2], reason(report), variant_of(report)
            )
        elif report.skipped and (variant := variant_of(report)):
            why = skip_reason(report).removeprefix(f"{variant}: ")
            self.skipped.setdefault(why, {})[variant] = None

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note benches that were not asked for."""
        self.deselected += [item.nodeid for item in items]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what a worker process deselected; all of them deselect the same."""
        self.deselected += getattr(node, "workeroutput", {}).get("qmodels_deselected", [])

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # before pytest-benchmark writes the record
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Find what is missing."""
        config = session.config
        if measures(config):
            settings = config.stash[SETTINGS]
            if not self.measured:
                self.problems.append("no bench was measured")
            measured = {entry.key for entry in self.entries}
            gone, excuses = missing_entries(
                config, settings, measured, self.failures, self.deselected
            )
            self.notes += excuses
            count = len({finding.key for finding in gone})
            if gone and (session.shouldfail or session.shouldstop):
                self.notes.append(f"stopped early: {count} benches were not measured")
            elif gone and getattr(config.option, "lf", False):
                self.notes.append(f"--lf: {count} benches of the baseline were left out")
            else:
                self.gone = gone
                self.problems += gate.lines(gone)
            self.problems += removed_variants(settings)
            plugin = config._benchmarksession  # type: ignore[attr-defined]
            plugin.save_json = partial(save_record, session)
        yield

    def as_record(self) -> dict[str, Any]:
        """The verdicts as a run's record holds them."""
        return {
            "findings": [
                astuple(finding) for findings in self.findings.values() for finding in findings
            ],
            "gone": [astuple(finding) for finding in self.gone],
            "failures": [astuple(failure) for failure in self.failures.values()],
            "skipped": {why: list(names) for why, names in self.skipped.items()},
        }


def reason(report: pytest.TestReport) -> str:
    """Why a bench failed, in a line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message.removeprefix("Failed: ") if crash else report.longreprtext
    return next(iter(text.strip().splitlines()), "it failed")


def skip_reason(report: pytest.TestReport) -> str:
    """Why a bench was skipped, in a line."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")


def asked_variant(item: pytest.Item) -> str:
    """The variant that a bench asks for; empty where it has none."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    name = parameters.get("qmodels_variant")
    return name if isinstance(name, str) else ""  # pytest has a sentinel for an empty set


def variant_of(report: pytest.TestReport) -> str:
    """The variant that a bench was to measure; empty where it has none."""
    return str(getattr(report, "qmodels_variant", ""))


RESULTS = pytest.StashKey[SessionResults]()


def pytest_configure(config: pytest.Config) -> None:
    """Start to listen."""
    config.stash[RESULTS] = SessionResults()
    config.pluginmanager.register(config.stash[RESULTS], "qmodels-results")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where something is missing, or store the run."""
    config = session.config
    results = config.stash[RESULTS]
    settings = config.stash.get(SETTINGS, None)
    if is_worker(config):
        config.workeroutput["qmodels_deselected"] = results.deselected  # type: ignore[attr-defined]
    if settings is None or not measures(config):
        return
    write_record(session, results)
    passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if settings.update_baseline:
        results.notes += update_baseline(session, settings, passed)
    elif settings.require_baseline and results.problems:
        results.notes += [f"FAILED {problem}" for problem in results.problems]
        if passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        results.notes += results.problems


def measures(config: pytest.Config) -> bool:
    """Whether this process runs benches and collects the results of all."""
    showing = any(getattr(config.option, name, None) for name in SHOWING)
    return SETTINGS in config.stash and not showing and not is_worker(config)


def save_record(session: pytest.Session, record: Mapping[str, Any]) -> None:
    """Write the record to a temporary name and rename it; a failure fails the session in a line."""
    config = session.config
    path = Path(config.option.benchmark_json)
    notes = config.stash[RESULTS].notes
    try:
        store.write_text(path, safe_dumps(record, indent=4))  # type: ignore[no-untyped-call]
        notes.append(f"run record: {gate.shown(path)}")
    except UserError as error:
        notes.append(f"FAILED {error}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def write_record(session: pytest.Session, results: SessionResults) -> None:
    """Write the record where pytest-benchmark writes none: it saw no benchmark succeed here.

    That is so with pytest-xdist, whose other processes measured, and where all benches failed.
    """
    config = session.config
    plugin = config._benchmarksession  # type: ignore[attr-defined]
    path = config.option.benchmark_json
    if not path or plugin.benchmarks or not (results.measured or results.failures):
        return
    record = {
        "machine_info": plugin.get_machine_info(),
        "commit_info": config.hook.pytest_benchmark_generate_commit_info(config=config),
        "benchmarks": list(results.measured.values()),
        SECTION: results.as_record(),
    }
    save_record(session, record)


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Write the verdicts into the record, and leave out benchmarks without metrics: they failed."""
    settings = config.stash.get(SETTINGS, None)
    if settings is None:
        return
    output_json["benchmarks"] = [
        benchmark for benchmark in output_json["benchmarks"] if "metrics" in benchmark["extra_info"]
    ]
    if not settings.update_baseline:
        output_json[SECTION] = config.stash[RESULTS].as_record()


def is_whole(config: pytest.Config, settings: Settings) -> bool:
    """Whether the command line left out no bench."""
    benches = (config.rootpath / "benches").resolve()
    paths = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    complete = any(path == benches or path in benches.parents for path in paths)
    return complete and not settings.left_out and not config.stash[RESULTS].deselected


def update_baseline(session: pytest.Session, settings: Settings, passed: bool) -> list[str]:
    """Store the run, and say what was written or why nothing was."""
    results = session.config.stash[RESULTS]
    stored = gate.shown(settings.baseline_path)
    if not passed:
        return [f"baseline not updated: this run failed; {stored} is as it was"]
    if not results.measured:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return [f"baseline not updated: nothing was measured; {stored} is as it was"]
    hook, plugin = session.config.hook, session.config._benchmarksession  # type: ignore[attr-defined]
    run = hook.pytest_benchmark_generate_json(
        config=session.config,
        benchmarks=plugin.benchmarks,
        include_data=False,
        machine_info=plugin.get_machine_info(),
        commit_info=hook.pytest_benchmark_generate_commit_info(config=session.config),
    )
    try:
        files = gate.accept(
            settings.baselines,
            replace(gate.Run.from_record(run), skipped=results.run.skipped),
            variants=variants.all_variants(),
            whole=is_whole(session.config, settings),
        )
    except UserError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return [f"baseline not updated: {error}"]
    return [line for file in files for line in report.describe_accepted(file)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a user's error as its one line, and attach variant and record to the report."""
    outcome = yield
    vars(outcome)["qmodels_variant"] = asked_variant(item)
    if call.excinfo is not None and isinstance(call.excinfo.value, UserError):
        outcome.longrepr = str(call.excinfo.value)
    if call.when == "setup" and MEASURED in item.stash:
        del item.stash[MEASURED]  # of an earlier attempt, where a plugin runs a bench again
    if call.when == "call" and MEASURED in item.stash:
        vars(outcome)["qmodels"] = item.stash[MEASURED]
    return outcome


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Say what results depend on, where pytest-benchmark's own would name the host."""
    return {"machine_class": machine.machine_class(), "versions": machine.versions()}
