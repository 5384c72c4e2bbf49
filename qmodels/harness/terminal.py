"""Show one moving line in a terminal; leave the lines for each file in a log."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from qmodels.harness.options import SETTINGS
from qmodels.harness.progress import PROGRESS, Progress
from qmodels.harness.results import asked_variant

PAST = "qmodels/seconds"  # in pytest's cache: of a bench in the last run, by network and group


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start to count; show the line where pytest writes to a terminal."""
    config = session.config
    progress = config.stash[PROGRESS] = Progress()
    settings = config.stash.get(SETTINGS, None)
    if settings is None or not is_alone_in_terminal(config):
        return
    # A file of its own: while a bench runs, pytest's capture takes what is written to stdout.
    output = os.dup(sys.stdout.fileno())
    stream = os.fdopen(output, "w", encoding=sys.stdout.encoding, errors="replace")
    config.add_cleanup(stream.close)
    progress.console = Console(file=stream)
    cache = getattr(config, "cache", None)  # there is none without pytest's plugin
    progress.past = cache.get(PAST, {}).get(settings.network, {}) if cache else {}
    config.pluginmanager.register(Line(progress, settings.network), "qmodels-line")


def is_alone_in_terminal(config: pytest.Config) -> bool:
    """Whether output goes to a terminal, and nothing else is written there while benches run."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    captured = config.getoption("capture", "no") != "no" and not config.option.usepdb
    alone = captured and not config.getoption("numprocesses", None)
    return terminal and alone and config.get_verbosity() == 0


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Line:
    """Show the progress where pytest would print dots."""

    progress: Progress
    network: str
    planned: dict[str, tuple[str, str]] = field(default_factory=dict)
    skipped: bool = False
    live: Live | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Show the line while benches run, and remember what they took."""
        for item in session.items:
            marker = item.get_closest_marker("benchmark")
            group = str(marker.kwargs.get("group")) if marker else item.path.stem
            self.planned[item.nodeid] = group, asked_variant(item)
            self.progress.plan(*self.planned[item.nodeid])
        reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
        reporter.showfspath = False
        spinner = Spinner("dots")

        def render() -> Text:
            frame = spinner.render(self.progress.console.get_time())
            return Text(f"{frame} {self.progress}", no_wrap=True, overflow="ellipsis")

        self.live = Live(
            get_renderable=render,
            console=self.progress.console,
            # The thread that moves the line takes time from what is measured.
            refresh_per_second=1,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        try:
            with self.live:
                yield
        finally:
            self.live = None
        self.remember(session.config)

    def remember(self, config: pytest.Config) -> None:
        """Keep the seconds of complete stages for the next run."""
        cache = getattr(config, "cache", None)
        if cache is None:
            return
        past = dict(cache.get(PAST, {}))
        seconds = {
            group: stage.seconds / stage.total
            for group, stage in self.progress.stages.items()
            if stage.done == stage.total > stage.skipped
        }
        past[self.network] = {**past.get(self.network, {}), **seconds}
        cache.set(PAST, past)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A bench begins."""
        self.skipped = False
        self.progress.begin(*self.planned[nodeid])
        self.refresh()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """The bench has what it needs."""
        self.progress.call()
        self.refresh()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a failure at once."""
        self.skipped |= report.skipped
        if report.failed:
            self.progress.failed += 1
            self.say(f"{report.nodeid.rpartition('::')[2]} failed")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Print a line for each stage that ends."""
        stage = self.progress.end(skipped=self.skipped)
        if stage.done == stage.total:
            counts = {"ran": stage.total - stage.skipped, "skipped": stage.skipped}
            shown = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            builds = f", and {stage.built:.0f} s for builds" if stage.built >= 1 else ""
            self.say(f"{self.progress.group}: {shown}, {stage.seconds:.0f} s{builds}")

    def refresh(self) -> None:
        """Show the progress now; a bench may end before the line moves."""
        if self.live:
            self.live.refresh()

    def say(self, line: str) -> None:
        """Print above the line that moves."""
        self.progress.console.print(line, markup=False, highlight=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Iterator[None]:
        """Count a bench as pytest does, and print no letter while the line is shown."""
        status = yield
        return (status[0], "", "") if status and self.live else status
