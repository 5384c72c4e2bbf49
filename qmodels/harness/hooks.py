"""The hooks of a session that has benches, in one object.

Tests that ask for none of the fixtures are left alone.
"""

import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any

import pytest

from qmodels import gate, variants
from qmodels.gate.latency import Timings
from qmodels.gate.run import SECTION, times_path
from qmodels.gate.sequential import Case
from qmodels.harness import header, storing, summary
from qmodels.harness.latencies import Latencies, latency_entries
from qmodels.harness.missing import Collected, missing_entries, removed_variants
from qmodels.harness.plugin import is_bench
from qmodels.harness.progress import Progress
from qmodels.harness.records import Recorder
from qmodels.harness.results import Results
from qmodels.harness.session import BenchSession
from qmodels.harness.settings import read_settings
from qmodels.harness.terminal import Line, is_alone_in_terminal
from qmodels.system import machine, repository, store
from qmodels.system.errors import Unavailable, UserError
from qmodels.variants import Variant


class Harness:
    """What the benches of a session share, and its hooks.

    Attributes:
        benches: all that there are, of which the command line may choose some.
        alone: whether there are no other benchmarks, which pytest-benchmark reports as ever.
        line: what is shown while benches run in a terminal.

    Raises:
        UserError: an option is wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        store.place_inductor_cache()
        self.config = config
        self.settings = read_settings(config)
        self.variants: dict[str, Variant] = variants.all_variants()
        self.results = Results()
        self.progress = Progress()
        self.session = BenchSession(self.settings, self.progress)
        self.benches: list[pytest.Function] = []
        self.recorder = Recorder(
            self.session, self.results, self.benches, config, self.exit_on_user_error
        )
        self.line: Line | None = None
        self.alone = False

    @cached_property
    def latencies(self) -> dict[Case, Timings]:
        """Times of all cases of the session, measured together."""
        entries = latency_entries(self.benches, self.recorder)
        with self.exit_on_user_error():
            return Latencies(self.session, entries).measure()

    def chosen(self, processor: str | None) -> list[str]:
        """The variants to measure that a processor executes; all of them for None."""
        return [
            name
            for name in self.settings.variants
            if processor is None or self.variants[name].on_gpu == (processor == "gpu")
        ]

    @contextmanager
    def exit_on_user_error(self) -> Iterator[None]:
        """Show progress while the block works; where it can't, end the session in one line."""
        capture: Any = self.config.pluginmanager.getplugin("capturemanager")
        try:
            with capture.global_and_fixture_disabled() if capture else nullcontext():
                yield
        except Unavailable:
            raise
        except UserError as error:
            pytest.exit(f"qmodels: {error}", returncode=2)

    # Collection.

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note what the command line chose; have pytest-benchmark print what was asked for."""
        chosen = set(session.items)
        self.collected = Collected.of(self.benches, chosen, session)
        self.benches[:] = [bench for bench in self.benches if bench in chosen]
        others = chosen.difference(self.benches)
        self.alone = not any("benchmark" in getattr(item, "fixturenames", ()) for item in others)
        if self.alone and not shows_times(self.config.option):
            plugin: Any = self.config._benchmarksession  # type: ignore[attr-defined]
            plugin.quiet, plugin.logger.level = True, plugin.logger.QUIET

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say what is measured, and what it is compared with."""
        return header.header(self.settings) if self.benches else []

    def load_stored_times(self) -> None:
        """Have pytest-benchmark print the times of the stored run too, if there is one."""
        stored = times_path(self.settings.baseline_path)
        if stored.exists():
            plugin: Any = self.config._benchmarksession  # type: ignore[attr-defined]
            plugin.compare = str(stored)
            # It warns of every other version; the gate knows which of them matter.
            with warnings.catch_warnings(action="ignore"):
                plugin.handle_loading()

    # Each bench.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Show the line where pytest writes nothing but benches to a terminal."""
        if len(session.items) != len(self.benches) or not is_alone_in_terminal(self.config):
            return (yield)
        self.line = Line(self.progress, self.settings.network.name, self.config)
        with self.line.shown(self.benches):
            return (yield)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        if self.line:
            self.line.start(nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Forget an earlier attempt, where a plugin runs a bench again."""
        if is_bench(item):
            self.results.forget(item.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """The test has what it needs."""
        if self.line:
            self.line.call()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show a user's error as its one line, and note what became of a bench."""
        outcome = yield
        if is_bench(item):
            if call.excinfo is not None and isinstance(call.excinfo.value, UserError):
                outcome.longrepr = str(call.excinfo.value)
            self.results.note(item, outcome)
        return outcome

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test ended."""
        if self.line:
            self.line.report(report)

    def pytest_runtest_logfinish(self) -> None:
        """A test ended."""
        if self.line:
            self.line.finish()

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Count a bench as pytest does, and print no letter while the line is shown."""
        status = yield
        return (status[0], "", "") if status and self.line and self.line.live else status

    # The end.

    @pytest.hookimpl(specname="pytest_sessionfinish", wrapper=True, tryfirst=True)
    def pytest_sessionfinish_first(self, session: pytest.Session) -> Generator[None, None, None]:
        """Find what is missing, before pytest-benchmark writes the record."""
        if not self.results.ran:  # none was chosen, or pytest only shows something
            return (yield)
        results, settings = self.results, self.settings
        if not results.measured:
            results.problems.append("no bench was measured")
        measured = {entry.key for entry in results.measured.values()}
        gone, excuses = missing_entries(settings, self.collected, measured, results.failed)
        results.notes += excuses
        interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        if gone and (session.shouldfail or session.shouldstop or interrupted):
            count = len({finding.key for finding in gone})
            results.notes.append(f"stopped early: {count} benches were not measured")
        else:
            results.gone = gone
            results.problems += gate.lines(gone)
        results.problems += removed_variants(settings)
        plugin: Any = self.config._benchmarksession  # type: ignore[attr-defined]
        plugin.save_json = partial(storing.save_record, session, results)
        with repository.without_variables():  # pytest-benchmark asks git for the commit
            return (yield)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Store the run, or fail where something is missing."""
        results, settings = self.results, self.settings
        if not results.ran:
            return
        storing.write_record(session, results)
        passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if settings.update_baseline:
            results.notes += storing.update_baseline(
                session, settings, results, passed=passed, whole=self.collected.whole
            )
        elif settings.require_baseline and results.problems:
            results.notes += [f"FAILED {problem}" for problem in results.problems]
            if passed:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        else:
            results.notes += results.problems

    @pytest.hookimpl(wrapper=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Print the tables and the verdict, the recommendation last."""
        yield
        summary.write(terminalreporter, self.settings, self.results)

    # What pytest-benchmark asks.

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_generate_machine_info(self) -> dict[str, Any]:
        """Say what results depend on, where pytest-benchmark's own would name the host."""
        return {"machine_class": machine.machine_class(), "versions": machine.versions()}

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Write the verdicts into the record, and leave out benches that failed."""
        failed = {bench.nodeid for bench in self.benches} - set(self.results.measured)
        output_json["benchmarks"] = [
            timed for timed in output_json["benchmarks"] if timed["fullname"] not in failed
        ]
        if not self.settings.update_baseline:
            output_json[SECTION] = self.results.as_record()


def shows_times(option: Any) -> bool:
    """Whether something was asked for that pytest-benchmark prints, or makes while it prints."""
    asked = ("compare", "histogram", "save", "autosave", "cprofile")
    own = option.qmodels_times or option.qmodels_compare
    return own or any(getattr(option, f"benchmark_{name}") for name in asked)
