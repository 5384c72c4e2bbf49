"""The end of a run: what is missing, the new baseline, the table, the verdict."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from qmodels import gate, report
from qmodels.errors import UserError
from qmodels.harness.options import SETTINGS, Settings, is_worker


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Ledger:
    """What happened so far: benchmarks that ran or were left out, and what the gate found.

    It listens to pytest's reports, which also come from other processes (pytest-xdist).
    """

    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    deselected: list[str] = field(default_factory=list)
    findings: list[gate.Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of pytest: a part of a test is over."""
        measured = getattr(report, "qmodels", None)
        if measured is not None and report.when == "call":
            self.benchmarks.append(
                {"fullname": report.nodeid, "extra_info": measured["extra_info"]}
            )
            self.findings += [gate.Finding(*one) for one in measured["findings"]]
            self.notes += measured["notes"]

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Of pytest: these were not asked for."""
        self.deselected += [item.nodeid for item in items]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Of pytest-xdist: a worker is done; all of them deselect the same."""
        self.deselected += getattr(node, "workeroutput", {}).get("qmodels_deselected", [])


LEDGER = pytest.StashKey[Ledger]()


def pytest_configure(config: pytest.Config) -> None:
    """Of pytest: start to listen."""
    config.stash[LEDGER] = Ledger()
    config.pluginmanager.register(config.stash[LEDGER], "qmodels-ledger")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Of pytest: fail where something is missing, or store the run."""
    settings = session.config.stash.get(SETTINGS, None)
    if settings is None or session.config.option.collectonly:
        return
    ledger = session.config.stash[LEDGER]
    if is_worker(session.config):
        output = session.config.workeroutput  # type: ignore[attr-defined]
        output["qmodels_deselected"] = ledger.deselected
        return
    problems = []
    if not ledger.benchmarks:
        problems.append("no bench was measured")
    gone = gate.vanished(
        settings.baseline,
        ran=[one["fullname"] for one in ledger.benchmarks],
        excused=excused(session.config, settings, ledger),
    )
    if gone and (session.shouldfail or session.shouldstop):
        ledger.notes.append(f"stopped early: {len(gone)} benches were not measured")
    elif gone and session.config.option.lf:
        ledger.notes.append(f"--lf: {len(gone)} benches of the baseline were left out")
    else:
        problems += [f"{name} is in the baseline and was not measured" for name in gone]
    passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if settings.update_baseline:
        ledger.notes.append(update_baseline(session, settings, ledger, passed, gone))
    elif settings.require_baseline and problems:
        ledger.notes += [f"FAILED {problem}" for problem in problems]
        if passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        ledger.notes += problems


def excused(config: pytest.Config, settings: Settings, ledger: Ledger) -> list[str]:
    """Benchmarks of the baseline that this command line did not ask for."""
    if settings.baseline is None:
        return []
    asked = [
        os.path.relpath(config.invocation_params.dir / argument, config.rootpath)
        for argument in config.args
    ]
    return ledger.deselected + [
        name
        for name, entry in settings.baseline.entries.items()
        if entry.variant not in settings.variants
        or not any(path == "." or name.startswith(path) for path in asked)
    ]


def update_baseline(
    session: pytest.Session, settings: Settings, ledger: Ledger, passed: bool, gone: list[str]
) -> str:
    """Store the run, and say in a line what was written or why nothing was."""
    stored = settings.baseline_path.relative_to(session.config.rootpath)
    plugin = session.config._benchmarksession  # type: ignore[attr-defined]
    if not passed:
        return f"baseline not updated: this run failed; {stored} is as it was"
    if not plugin.benchmarks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return f"baseline not updated: nothing was measured; {stored} is as it was"
    hook = session.config.hook
    run = hook.pytest_benchmark_generate_json(
        config=session.config,
        benchmarks=plugin.benchmarks,
        include_data=False,
        machine_info=plugin.get_machine_info(),
        commit_info=hook.pytest_benchmark_generate_commit_info(config=session.config),
    )
    try:
        kept = gate.accept(settings.baseline_path, run)
    except UserError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return f"baseline not updated: {error}"
    partial = f"; partial run: {kept} other entries kept as they were" if kept else ""
    return f"baseline updated: {stored}, {len(run['benchmarks'])} entries{partial}"


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Of pytest: the table and the verdict."""
    yield  # pytest-benchmark's tables first: the last thing on the screen is the verdict
    settings = config.stash.get(SETTINGS, None)
    ledger = config.stash[LEDGER]
    if settings is None or not (ledger.benchmarks or ledger.notes):
        return
    of = f"{settings.dataset.name}, {settings.architecture} width {settings.width}"
    terminalreporter.section(f"qmodels: {of} (change against the baseline)")
    stored = settings.baseline.entries if settings.baseline else {}
    if ledger.benchmarks:
        summary = report.summarize({"benchmarks": ledger.benchmarks}, stored)
        terminalreporter.write_line(report.markdown(summary))
        speeds = report.speed_table({"benchmarks": ledger.benchmarks})
        if speeds:
            terminalreporter.write_line(f"\n{speeds}")
    if ledger.findings:
        terminalreporter.write_line(f"gate: {report.counted(ledger.findings)}")
    for finding in ledger.findings:
        if finding.verdict == "improved":
            terminalreporter.write_line(finding.line)
    missing = [finding.line for finding in ledger.findings if finding.verdict == "missing"]
    if missing and not settings.require_baseline:
        terminalreporter.write_line(
            f"{len(missing)} metrics were held against nothing: {missing[0]}"
        )
    for note in ledger.notes:
        terminalreporter.write_line(note)
