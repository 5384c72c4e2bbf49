"""The end of a run: what is missing, the new baseline, the table, the verdict."""

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import pytest

from qmodels import gate, report, variants
from qmodels.gate.run import FINDINGS
from qmodels.harness.options import SETTINGS, is_worker
from qmodels.harness.records import MEASURED
from qmodels.harness.settings import Settings
from qmodels.system import machine
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
    """What happened so far: benchmarks that ran or were left out, and what the gate found.

    It listens to pytest's reports, which also come from other processes (pytest-xdist).
    """

    entries: list[gate.Entry] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    deselected: list[str] = field(default_factory=list)
    findings: list[gate.Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a benchmark's record, or note a failure."""
        if report.failed:
            self.failed.append(report.nodeid)
        measured = getattr(report, "qmodels", None)
        if measured is not None and report.when == "call":
            self.entries.append(gate.entry(measured["benchmark"]))
            self.findings += [gate.Finding.from_record(one) for one in measured["findings"]]
            self.notes += measured["notes"]

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note benches that were not asked for."""
        self.deselected += [item.nodeid for item in items]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Note what a worker process deselected; all of them deselect the same."""
        self.deselected += getattr(node, "workeroutput", {}).get("qmodels_deselected", [])


RESULTS = pytest.StashKey[SessionResults]()


def pytest_configure(config: pytest.Config) -> None:
    """Start to listen."""
    config.stash[RESULTS] = SessionResults()
    config.pluginmanager.register(config.stash[RESULTS], "qmodels-results")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where something is missing, or store the run."""
    config = session.config
    settings = config.stash.get(SETTINGS, None)
    if settings is None or any(getattr(config.option, name, None) for name in SHOWING):
        return
    results = config.stash[RESULTS]
    if is_worker(config):
        config.workeroutput["qmodels_deselected"] = results.deselected  # type: ignore[attr-defined]
        return
    problems = []
    if not results.entries:
        problems.append("no bench was measured")
    gone = vanished(config, settings, results)
    if gone and (session.shouldfail or session.shouldstop):
        results.notes.append(f"stopped early: {len(gone)} benches were not measured")
    elif gone and getattr(config.option, "lf", False):
        results.notes.append(f"--lf: {len(gone)} benches of the baseline were left out")
    else:
        problems += gone
    passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if settings.update_baseline:
        results.notes += update_baseline(session, settings, passed)
    elif settings.require_baseline and problems:
        results.notes += [f"FAILED {problem}" for problem in problems]
        if passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        results.notes += problems


def vanished(config: pytest.Config, settings: Settings, results: SessionResults) -> list[str]:
    """A line for each stored entry that should have been measured and was not.

    What this machine can't run is excused, and noted; what failed has told why, and what the
    command line left out is not looked at.
    """
    if settings.baseline is None:
        return []
    known = variants.all_variants()
    ran = {entry.key for entry in results.entries}
    asked = [
        os.path.relpath(config.invocation_params.dir / argument, config.rootpath)
        for argument in config.args
    ]
    lines, excuses = [], {}
    for key, entry in settings.baseline.entries.items():
        chosen = not settings.left_out or key.variant in settings.variants
        in_paths = any(path == "." or entry.nodeid.startswith(path) for path in asked)
        told = entry.nodeid in results.deselected or entry.nodeid in results.failed
        if key in ran or told or not chosen or not in_paths:
            continue
        if key.variant not in known:
            lines.append(
                f"{entry.name} is in the baseline, and there is no variant {key.variant} any more: "
                "restore it, or drop its entries with --qmodels-update-baseline"
            )
            continue
        obstacle = known[key.variant].obstacle()
        if obstacle and not obstacle.fixable:
            excuses[key.variant] = obstacle.reason
        else:
            lines.append(f"{entry.name} is in the baseline and was not measured")
    results.notes += [f"excused: {name} can't run here: {why}" for name, why in excuses.items()]
    return lines


def is_whole(config: pytest.Config, settings: Settings) -> bool:
    """Whether the command line left out no bench."""
    benches = config.rootpath / "benches"
    paths = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    complete = any(path == benches or path in benches.parents for path in paths)
    return complete and not settings.left_out and not config.stash[RESULTS].deselected


def update_baseline(session: pytest.Session, settings: Settings, passed: bool) -> list[str]:
    """Store the run, and say what was written or why nothing was."""
    stored = gate.shown(settings.baseline_path)
    plugin = session.config._benchmarksession  # type: ignore[attr-defined]
    if not passed:
        return [f"baseline not updated: this run failed; {stored} is as it was"]
    if not plugin.benchmarks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return [f"baseline not updated: nothing was measured; {stored} is as it was"]
    hook = session.config.hook
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
            gate.Run.from_record(run),
            variants=variants.all_variants(),
            whole=is_whole(session.config, settings),
        )
    except UserError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return [f"baseline not updated: {error}"]
    return [line for one in files for line in report.accepted(one)]


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the tables and the verdict."""
    yield  # pytest-benchmark's tables first: the last thing on the screen is the verdict
    settings = config.stash.get(SETTINGS, None)
    results = config.stash[RESULTS]
    if settings is None or not (results.entries or results.notes):
        return
    of = f"{settings.dataset}, {settings.architecture} width {settings.width}"
    compared = "base" if settings.base else "baseline"
    terminalreporter.section(f"qmodels: {of} (change against the {compared})")
    stored = settings.baseline.entries if settings.baseline else {}
    if results.entries:
        run = gate.Run.of(results.entries)
        terminalreporter.write_line(report.summary_table(report.summarize(run, stored)))
        speeds = report.speed_table(run)
        if speeds:
            terminalreporter.write_line(f"\n{speeds}")
    if results.findings:
        terminalreporter.write_line(f"gate: {report.counted(results.findings)}")
    for line in remarks(results.findings, settings):
        terminalreporter.write_line(line)
    for note in dict.fromkeys(results.notes):  # several benches may have the same
        terminalreporter.write_line(note)


def remarks(findings: Sequence[gate.Finding], settings: Settings) -> list[str]:
    """Lines of findings that failed no bench and are not ok; of new and missing ones the first."""
    shown = ["improved"]
    if not settings.require_baseline:  # else they failed their benches
        shown.append("undecided")
    lines = gate.lines(finding for finding in findings if finding.verdict in shown)
    for verdict, meaning in (("new", "are new"), ("missing", "have no baseline")):
        group = [finding for finding in findings if finding.verdict == verdict]
        if group and not (verdict == "missing" and settings.require_baseline):
            lines.append(f"{len(group)} metrics {meaning}, such as {gate.lines(group)[0]}")
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a user's error as its one line, and attach the record to the report."""
    outcome = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, UserError):
        outcome.longrepr = str(call.excinfo.value)
    if call.when == "call" and MEASURED in item.stash:
        vars(outcome)["qmodels"] = item.stash[MEASURED]
    return outcome


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Write the verdicts into the record of the run."""
    settings = config.stash.get(SETTINGS, None)
    if settings is not None and not settings.update_baseline:
        output_json[FINDINGS] = [astuple(one) for one in config.stash[RESULTS].findings]


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Say what results depend on, where pytest-benchmark's own would name the host."""
    return {"machine_class": machine.machine_class(), "versions": machine.versions()}
