"""Show one moving line in a terminal; leave the lines for each file in a log."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from qmodels.harness.progress import Progress
from qmodels.harness.results import asked_variant

_PAST = "qmodels/seconds"  # in pytest's cache: of a bench in the last run, by network and group


def is_alone_in_terminal(config: pytest.Config) -> bool:
    """Whether output goes to a terminal, and nothing else is written there while benches run."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    captured = config.getoption("capture", "no") != "no" and not config.option.usepdb
    return terminal and captured and config.get_verbosity() == 0


class Line:
    """The progress line, which replaces the dots that pytest prints.

    Attributes:
        live: what moves; None before the first bench and after the last.
    """

    def __init__(self, progress: Progress, network: str, config: pytest.Config) -> None:
        # A file of its own: while a bench runs, pytest's capture takes what is written to stdout.
        output = os.dup(sys.stdout.fileno())
        stream = os.fdopen(output, "w", encoding=sys.stdout.encoding, errors="replace")
        config.add_cleanup(stream.close)
        self.progress, self.network, self.config = progress, network, config
        progress.console = Console(file=stream)
        # There is none without pytest's plugin.
        self.cache: pytest.Cache | None = getattr(config, "cache", None)
        progress.past = self.cache.get(_PAST, {}).get(network, {}) if self.cache else {}
        self.planned: dict[str, tuple[str, str]] = {}
        self.skipped = False
        self.live: Live | None = None

    @contextmanager
    def shown(self, benches: Iterable[pytest.Item]) -> Iterator[None]:
        """Show the line while benches run, and remember what they took."""
        for bench in benches:
            marker = bench.get_closest_marker("benchmark")
            group = str(marker.kwargs.get("group")) if marker else bench.path.stem
            self.planned[bench.nodeid] = group, asked_variant(bench)
            self.progress.plan(*self.planned[bench.nodeid])
        reporter: Any = self.config.pluginmanager.getplugin("terminalreporter")
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
        self.remember()

    def remember(self) -> None:
        """Keep the seconds of complete stages for the next run."""
        if self.cache is None:
            return
        past = dict(self.cache.get(_PAST, {}))
        seconds = {
            group: stage.seconds / stage.total
            for group, stage in self.progress.stages.items()
            if stage.done == stage.total > stage.skipped
        }
        past[self.network] = {**past.get(self.network, {}), **seconds}
        self.cache.set(_PAST, past)

    def start(self, nodeid: str) -> None:
        """A bench begins."""
        self.skipped = False
        self.progress.begin(*self.planned[nodeid])
        self.refresh()

    def call(self) -> None:
        """The bench has what it needs."""
        self.progress.call()
        self.refresh()

    def report(self, report: pytest.TestReport) -> None:
        """Print a failure at once."""
        self.skipped |= report.skipped
        if report.failed:
            self.progress.failed += 1
            self.say(f"{report.nodeid.rpartition('::')[2]} failed")

    def finish(self) -> None:
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
