"""The progress of a run: its present work, and an estimate of the time left."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

# What the benches of a group do to a variant.
_ACTIVITIES = {
    "accuracy": "evaluating",
    "cuda": "timing",
    "kernels": "checking kernels of",
    "latency": "timing",
    "memory": "profiling",
    "size": "loading",
}


@dataclass
class GroupProgress:
    """The benches of a group: how many there are, how many ended, and the seconds of these.

    Attributes:
        seconds: without those of builds.
        built: seconds of the builds that they asked for.
    """

    total: int = 0
    done: int = 0
    skipped: int = 0
    seconds: float = 0.0
    built: float = 0.0


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        console: where training shows its own progress.
        past: seconds that a bench took in the last run, by group; builds are not in them.
        stages: by group, in the order of the run.
        unbuilt: variants that no bench has asked for yet.
        builds: seconds that building each of the other variants took.
        started, built: when the bench began, and the seconds that it has spent on builds.
        processes: that time latencies: the number of the one that runs, of at least how many, and
            when the first began.
    """

    console: Console = field(default_factory=lambda: Console(stderr=True))
    past: Mapping[str, float] = field(default_factory=dict)
    stages: dict[str, GroupProgress] = field(default_factory=dict)
    unbuilt: set[str] = field(default_factory=set)
    builds: list[float] = field(default_factory=list)
    group: str = ""
    variant: str = ""
    activity: str = ""
    failed: int = 0
    started: float = 0.0
    built: float = 0.0
    processes: tuple[int, int, float] = (0, 0, 0.0)

    def plan(self, group: str, variant: str) -> None:
        """Expect a bench of a variant."""
        self.stages.setdefault(group, GroupProgress()).total += 1
        self.unbuilt.add(variant)

    def begin(self, group: str, variant: str) -> None:
        """A bench begins."""
        self.group, self.variant, self.activity = group, variant, f"preparing {variant}"
        self.started, self.built = time.monotonic(), 0.0

    def call(self) -> None:
        """The bench has what it needs, and begins to measure."""
        self.activity = f"{_ACTIVITIES.get(self.group, 'measuring')} {self.variant}"

    def end(self, *, skipped: bool) -> GroupProgress:
        """The bench ends; returns its stage."""
        stage = self.stages[self.group]
        stage.done += 1
        stage.skipped += skipped
        stage.seconds += time.monotonic() - self.started - self.built
        stage.built += self.built
        self.unbuilt.discard(self.variant)
        return stage

    @contextmanager
    def working(self, activity: str) -> Iterator[None]:
        """Name what the block does."""
        before, self.activity = self.activity, activity
        try:
            yield
        finally:
            self.activity = before

    @contextmanager
    def building(self, variant: str) -> Iterator[None]:
        """Name the variant that the block builds, and count its seconds apart."""
        started = time.monotonic()
        with self.working(f"building {variant}"):
            yield
        seconds = time.monotonic() - started
        self.built += seconds
        if variant in self.unbuilt:
            self.unbuilt.remove(variant)
            self.builds.append(seconds)

    def time_process(self, cases: int, least: int) -> None:
        """A process begins to time cases."""
        number, _, since = self.processes
        self.processes = number + 1, least, since or time.monotonic()
        planned = f" of {least}" if number < least else ""
        what = "1 case" if cases == 1 else f"{cases} cases in turn"
        self.activity = f"timing {what}, process {number + 1}{planned}"

    def remaining(self, group: str | None = None) -> float | None:
        """Seconds that all benches, or those of a group, will take; None where it is unknown."""
        seconds = len(self.unbuilt) * sum(self.builds) / max(1, len(self.builds))
        for name, stage in self.stages.items():
            if stage.done == stage.total or group not in (None, name):
                continue
            of_group = self.remaining_of(name)
            if of_group is None:
                return None
            seconds += of_group
        return seconds

    def remaining_of(self, group: str) -> float | None:
        """Seconds that the benches of a group will take beside builds; None where unknown."""
        now, stage = time.monotonic(), self.stages[group]
        number, least, since = self.processes
        if group == self.group and 1 < number <= least and not stage.done:
            return (now - since) / (number - 1) * (least - number + 1)  # all are timed together
        mean = self.past.get(group, stage.seconds / stage.done if stage.done else None)
        if mean is None:
            return None
        spent = now - self.started - self.built if group == self.group else 0.0
        return max(0.0, (stage.total - stage.done) * mean - spent)

    def __str__(self) -> str:
        stage = self.stages.get(self.group)
        if stage is None:
            return "starting"
        number = min(stage.done + 1, stage.total)
        parts = [f"{self.group} {number} of {stage.total}", self.activity]
        if self.failed:
            parts.append(f"{self.failed} failed")
        for group, what in ((None, "left"), (self.group, f"left of {self.group}")):
            seconds = self.remaining(group)
            if seconds is not None:
                parts.append(f"about {duration(seconds)} {what}")
                break
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """A time that is not exact: to ten seconds, near two minutes and above to the minute."""
    if seconds < 115:
        return f"{max(10, 10 * round(seconds / 10))} s"
    return f"{round(seconds / 60)} min"
