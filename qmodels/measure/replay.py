"""Times that other processes or a GPU took, told to pytest-benchmark as if this one took them."""

from collections.abc import Iterator, Sequence


class Replay:
    """A clock that only its own forwards move, each by the next of some seconds."""

    def __init__(self) -> None:
        self._left: Iterator[float] = iter(())
        self._now = 0.0

    def play(self, seconds: Sequence[float]) -> None:
        """Start over with other seconds."""
        self._left = iter(seconds)
        self._now = 0.0

    def timer(self) -> float:
        """The time, in seconds."""
        return self._now

    def forward(self) -> None:
        """Let the next of the seconds pass."""
        self._now += next(self._left, 0.0)


# pytest-benchmark takes a timer from a marker, before there is any fixture: one clock a process.
REPLAY = Replay()
