"""The hooks of a session that has benches, in one object.

Tests that ask for none of the fixtures are left alone.
"""

import traceback
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
from pytest_benchmark.session import PerformanceRegression

from qmodels import variants
from qmodels.gate import SECTION, times_path
from qmodels.harness import header, storing, summary
from qmodels.harness.network_run import NetworkRun
from qmodels.harness.plugin import is_bench
from qmodels.harness.progress import Progress
from qmodels.harness.results import asked_network, collect_verdicts
from qmodels.harness.settings import Settings, read_settings
from qmodels.harness.terminal import Line, is_alone_in_terminal
from qmodels.system import codec, machine, repository, store
from qmodels.system.errors import Unavailable, UserError
from qmodels.variants import Variant


class Harness:
    """The networks that are measured, and the hooks of a session.

    Attributes:
        runs: by the name of the network.
        alone: whether there are no other benchmarks, which pytest-benchmark reports as ever.
        line: what is shown while benches run in a terminal.
        session: that of pytest, after collection.

    Raises:
        UserError: an option is wrong.
    """

    session: pytest.Session

    def __init__(self, config: pytest.Config) -> None:
        store.place_inductor_cache()
        self.config = config
        self.progress = Progress()
        self.runs = {
            settings.network.name: NetworkRun(
                settings, self.progress, config, self.exit_on_user_error
            )
            for settings in read_settings(config)
        }
        self.variants: dict[str, Variant] = variants.all_variants()
        self.line: Line | None = None
        self.alone = False

    @property
    def settings(self) -> Settings:
        """The settings of the first network."""
        return next(iter(self.runs.values())).settings

    @property
    def benches(self) -> list[pytest.Function]:
        """The benches of all networks."""
        return [bench for run in self.runs.values() for bench in run.benches]

    def run_of(self, item: pytest.Item) -> NetworkRun:
        """The run that a bench is of."""
        return self.runs.get(asked_network(item)) or next(iter(self.runs.values()))

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
        self.session = session
        chosen = set(session.items)
        for run in self.runs.values():
            run.choose(chosen, session)
        others = chosen.difference(self.benches)
        self.alone = not any("benchmark" in getattr(item, "fixturenames", ()) for item in others)
        if self.alone and not _shows_times(self.config.option):
            plugin: Any = self.config._benchmarksession  # type: ignore[attr-defined]
            plugin.quiet, plugin.logger.level = True, plugin.logger.QUIET

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say what is measured, and what it is compared with."""
        return [
            line
            for run in self.runs.values()
            if run.benches
            for line in header.header(run.settings)
        ]

    def load_stored_times(self) -> None:
        """Have pytest-benchmark print the times of the stored run too, if there is one.

        It finds benches by their names, which several networks are a part of.
        """
        stored = times_path(self.settings.baseline_path)
        if stored.exists() and len(self.runs) == 1:
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
        self.line = Line(self.progress, " ".join(self.runs), self.config)
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
            self.run_of(item).results.forget(item.nodeid)

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
            self.run_of(item).results.note(item, outcome)
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Leave out frames without a line, which pytest can't show.

        Python 3.11 has no line for the end of a loop, and interrupts there as everywhere.
        """
        lines = (line for _, line in traceback.walk_tb(excinfo.tb))
        excinfo.traceback = excinfo.traceback.filter(lambda _: next(lines) is not None)

    @property
    def ran(self) -> list[NetworkRun]:
        """The runs of which benches ran; none where pytest only shows something."""
        return [run for run in self.runs.values() if run.results.ran]

    @pytest.hookimpl(specname="pytest_sessionfinish", wrapper=True, tryfirst=True)
    def pytest_sessionfinish_first(self, session: pytest.Session) -> Generator[None, None, None]:
        """Find what is missing, before pytest-benchmark writes the record."""
        if not self.ran:
            return (yield)
        interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        for run in self.ran:
            run.look_for_missing(
                stopped=bool(session.shouldfail or session.shouldstop or interrupted)
            )
        plugin: Any = self.config._benchmarksession  # type: ignore[attr-defined]
        notes = self.ran[-1].results.notes
        plugin.save_json = partial(storing.save_record, session, notes)
        save = plugin.storage.save
        plugin.storage.save = partial(storing.save_numbered, session, notes, save)
        with repository.without_variables():  # pytest-benchmark asks git for the commit
            return (yield)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Store the runs, or fail where something is missing."""
        if not self.ran:
            return
        storing.write_record(session, [run.results for run in self.ran])
        passed = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        for run in self.ran:
            run.finish(session, passed=passed)

    @pytest.hookimpl(wrapper=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Print the tables and the verdict, the recommendation last."""
        try:
            yield
        except PerformanceRegression:  # of --benchmark-compare-fail, which has printed it
            self.session.exitstatus = pytest.ExitCode.TESTS_FAILED
        finally:
            for run in self.runs.values():
                summary.write(terminalreporter, run.settings, run.results)

    # What pytest-benchmark asks.

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_generate_machine_info(self) -> dict[str, Any]:
        """Say what results depend on, where pytest-benchmark's own would name the host."""
        return {"machine_class": machine.machine_class(), "versions": machine.versions()}

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Write the verdicts into the record, and leave out benches that failed."""
        results = [run.results for run in self.runs.values()]
        measured = {nodeid for of_network in results for nodeid in of_network.measured}
        failed = {bench.nodeid for bench in self.benches} - measured
        output_json["benchmarks"] = [
            timed for timed in output_json["benchmarks"] if timed["fullname"] not in failed
        ]
        if not self.settings.update_baseline:
            output_json[SECTION] = codec.encode(collect_verdicts(results))


def _shows_times(option: Any) -> bool:
    asked = ("compare", "histogram", "save", "autosave", "cprofile")
    own = option.qmodels_times or option.qmodels_compare
    return own or any(getattr(option, f"benchmark_{name}") for name in asked)
