"""The end of a run: what is missing, the new baseline, the table, the verdict."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from qmodels import gate, report, variants
from qmodels.errors import UserError
from qmodels.harness.options import SETTINGS, Settings, is_worker

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
class Ledger:
    """What happened so far: benchmarks that ran or were left out, and what the gate found.

    It listens to pytest's reports, which also come from other processes (pytest-xdist).
    """

    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    deselected: list[str] = field(default_factory=list)
    findings: list[gate.Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of pytest: a part of a test is over."""
        if report.failed:
            self.failed.append(report.nodeid)
        measured = getattr(report, "qmodels", None)
        if measured is not None and report.when == "call":
            self.benchmarks.append(measured["benchmark"])
            self.findings += [gate.Finding.from_record(one) for one in measured["findings"]]
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
    config = session.config
    settings = config.stash.get(SETTINGS, None)
    if settings is None or any(getattr(config.option, name, None) for name in SHOWING):
        return
    ledger = config.stash[LEDGER]
    if is_worker(config):
        config.workeroutput["qmodels_deselected"] = ledger.deselected  # type: ignore[attr-defined]
        return
    problems = []
    if not ledger.benchmarks:
        problems.append("no bench was measured")
    gone = vanished(config, settings, ledger)
    if gone and (session.shouldfail or session.shouldstop):
        ledger.notes.append(f"stopped early: {len(gone)} benches were not measured")
    elif gone and getattr(config.option, "lf", False):
        ledger.notes.append(f"--lf: {len(gone)} benches of the baseline were left out")
    else:
        problems += gone
    passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if settings.update_baseline:
        ledger.notes += update_baseline(session, settings, passed)
    elif settings.require_baseline and problems:
        ledger.notes += [f"FAILED {problem}" for problem in problems]
        if passed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        ledger.notes += problems


def vanished(config: pytest.Config, settings: Settings, ledger: Ledger) -> list[str]:
    """A line for each stored entry that should have been measured and was not.

    What this machine can't run is excused, and noted; what failed has told why, and what the
    command line left out is not looked at.
    """
    if settings.baseline is None:
        return []
    known = variants.all_variants()
    ran = {gate.entry(one).key for one in ledger.benchmarks}
    asked = [
        os.path.relpath(config.invocation_params.dir / argument, config.rootpath)
        for argument in config.args
    ]
    lines, excuses = [], {}
    for key, entry in settings.baseline.entries.items():
        chosen = not settings.left_out or key.variant in settings.variants
        in_paths = any(path == "." or entry.nodeid.startswith(path) for path in asked)
        told = entry.nodeid in ledger.deselected or entry.nodeid in ledger.failed
        if key in ran or told or not chosen or not in_paths:
            continue
        if key.variant not in known:
            lines.append(
                f"{entry.name} is in the baseline, and there is no variant {key.variant} any more: "
                "restore it, or drop its entries with --qmodels-update-baseline"
            )
            continue
        obstacle = known[key.variant].obstacle()
        if obstacle and not obstacle.mendable:
            excuses[key.variant] = obstacle.reason
        else:
            lines.append(f"{entry.name} is in the baseline and was not measured")
    ledger.notes += [f"excused: {name} can't run here: {why}" for name, why in excuses.items()]
    return lines


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
        files = gate.accept(settings.baselines, run, variants=variants.all_variants())
    except UserError as error:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return [f"baseline not updated: {error}"]
    return [line for one in files for line in report.accepted(one)]


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
    for line in said(ledger.findings, settings):
        terminalreporter.write_line(line)
    for note in ledger.notes:
        terminalreporter.write_line(note)


def said(findings: Sequence[gate.Finding], settings: Settings) -> list[str]:
    """Lines of what failed no bench and is no plain "ok"; of what is new or missing the first."""
    lines = [one.line for one in findings if one.verdict == "improved"]
    if not settings.require_baseline:  # else they failed their benches
        lines += [one.line for one in findings if one.verdict == "undecided"]
    for verdict, meaning in (
        ("new", "are new"),
        ("missing", "were held against nothing"),
    ):
        of = [one.line for one in findings if one.verdict == verdict]
        if of and not (verdict == "missing" and settings.require_baseline):
            lines.append(f"{len(of)} metrics {meaning}: {of[0]}")
    return lines
