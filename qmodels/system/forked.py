"""Run functions in processes forked from this one: what they import or set stays theirs."""

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from qmodels.system.errors import UserError
from qmodels.system.worker import WorkerError, end_tree, no_answer, why_ended

Result = TypeVar("Result")
Pipe = Connection

# This process's ends of all pipes. A fork closes those that it inherits: pipes of other forks then
# end with this process, and so do the forks.
_PIPES: set[Pipe] = set()


@dataclass(frozen=True)
class Fork:
    """A forked process, and this end of the pipe to it."""

    name: str
    process: BaseProcess
    pipe: Pipe

    def send(self, message: object) -> None:
        """Send something. If the process has ended, the next ``receive`` raises."""
        with suppress(ConnectionError):
            self.pipe.send(message)

    def receive(self, timeout: float, *, since: float | None = None) -> Any:
        """Receive the next message.

        Args:
            timeout: seconds after which it is ended.
            since: when these began, by ``time.monotonic``; now by default.

        Raises:
            WorkerError: it sent nothing in time, or it ended.
        """
        deadline = timeout + (time.monotonic() if since is None else since)
        reason = no_answer(timeout)
        try:
            if self.pipe.poll(max(0.0, deadline - time.monotonic())):
                return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(max(0.0, deadline - time.monotonic()))
            if self.process.exitcode is not None:
                reason = why_ended(self.process.exitcode, "")
        self.end()
        raise WorkerError(self.name, reason)

    def end(self) -> None:
        """End it, and process groups that it started."""
        if self.process.is_alive():
            end_tree(self.process.pid or 0)
        self.process.kill()
        self.process.join()
        self.pipe.close()
        _PIPES.discard(self.pipe)


def start(name: str, function: Callable[[Pipe], None]) -> Fork:
    """Run a function in a forked process, with its end of a pipe."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    _PIPES.add(here)

    def run() -> None:
        for pipe in _PIPES:
            pipe.close()
        function(there)

    process = context.Process(target=run, daemon=True)
    process.start()
    there.close()
    return Fork(name, process, here)


def call(name: str, function: Callable[[], Result], *, timeout: float) -> Result:
    """The result of a function, from a forked process.

    Args:
        timeout: seconds after which the process is ended.

    Raises:
        WorkerError: it did not return in time, or it raised; the traceback is on standard error.
        UserError: it raised this.
    """

    def answer(pipe: Pipe) -> None:
        try:
            pipe.send((function(), None))
        except UserError as error:
            pipe.send((None, str(error)))

    fork = start(name, answer)
    try:
        result, failure = fork.receive(timeout)
    finally:
        fork.end()
    if failure is not None:
        raise UserError(failure)
    return result  # type: ignore[no-any-return]
