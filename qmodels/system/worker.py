"""Start processes, talk with them, and end them: nothing else in qmodels does.

A worker answers lines of JSON, as ``child`` does; ``run`` runs a command that ends by itself;
``forked`` has functions in forked processes. Every wait has a timeout, in seconds. When it has
passed, the process is ended with all that it started, and the error names the timeout.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

from qmodels.system.checkout import Checkout, here
from qmodels.system.errors import UserError

_T = TypeVar("_T")
# For whatever takes no longer than minutes, even on a busy machine.
_ANSWER_SECONDS = 1800.0
# Between the end of a process's output and its own.
_EXIT_SECONDS = 10.0
# The variable that names the folder that a worker removes itself, if its parent can't any more.
SCRATCH = "QMODELS_SCRATCH"
# That of the process that started a worker, which may have ended before the worker runs.
PARENT = "QMODELS_PARENT"


class StartError(UserError):
    """A Python can't be run; the line has the remedy."""


class WorkerError(UserError):
    """A process gave no answer."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Worker:
    """A process that answers each line of its standard input with a line."""

    command: str
    checkout: Checkout
    process: subprocess.Popen[str]
    stderr: IO[str]

    def request(self, payload: object, *, timeout: float = _ANSWER_SECONDS) -> dict[str, Any]:
        """Send a JSON value, and wait for the answer: see ``send`` and ``answer``."""
        self.send(payload)
        return self.answer(timeout=timeout)

    def ask(self, kind: type[_T], payload: object, *, timeout: float = _ANSWER_SECONDS) -> _T:
        """Send a JSON value, and wait for the answer: see ``send`` and ``receive``."""
        self.send(payload)
        return self.receive(kind, timeout=timeout)

    def receive(self, kind: type[_T], *, timeout: float = _ANSWER_SECONDS) -> _T:
        """Wait for an answer, decoded as a class.

        Raises:
            WorkerError: as for ``answer``, or it answered something else.
        """
        from qmodels.system import codec  # which processes that are measured do without

        answer = self.answer(timeout=timeout)
        try:
            return codec.decode(kind, answer)
        except codec.Malformed as error:
            reason = f"its answer is no {kind.__name__.lstrip('_')} ({error})"
            raise WorkerError(f"{self.command} failed in {self.checkout.root}", reason) from None

    def send(self, payload: object) -> None:
        """Send a JSON value. That the worker has ended is seen by what waits for the answer."""
        with suppress(BrokenPipeError, ValueError):  # it has ended, or was closed
            print(json.dumps(payload), file=self.process.stdin, flush=True)

    def answer(self, *, timeout: float = _ANSWER_SECONDS) -> dict[str, Any]:
        """Wait for an answer, an object.

        Args:
            timeout: seconds after which the worker is ended.

        Raises:
            WorkerError: it gave no answer in time, or ended.
        """
        assert self.process.stdout is not None
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.end()

        alarm = threading.Timer(timeout, expire)
        alarm.daemon = True  # an interrupt before the ``finally`` must not keep this process
        try:
            alarm.start()
            for line in self.process.stdout:
                with suppress(ValueError):
                    value = json.loads(line)
                    if isinstance(value, dict):  # and nothing that its Python prints when it starts
                        return value
            reason = no_answer(timeout) if expired.is_set() else self.failure()
            raise WorkerError(f"{self.command} failed in {self.checkout.root}", reason)
        finally:
            alarm.cancel()

    def end(self) -> None:
        """End the worker, and all that it started."""
        end_tree(self.process.pid)

    def failure(self) -> str:
        """Why it gave no answer; it is ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_EXIT_SECONDS)
        self.end()
        self.stderr.seek(0)
        return why_ended(self.process.wait(), self.stderr.read())


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder while the block lasts."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="qmodels-", ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_temporary_file(error) from None
    with folder as name:
        yield Path(name)


def _no_temporary_file(error: OSError) -> UserError:
    return UserError(f"no temporary file can be made ({error}): free the disk or set TMPDIR")


@contextmanager
def start(
    *command: str, checkout: Checkout | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """Run ``python -m command`` while the block lasts, with a temporary directory of its own.

    Args:
        command: a module and its arguments.
        checkout: its code; that of this process by default.
        environment: variables that the process has beside those of the checkout.

    Raises:
        UserError: the temporary directory can't be written to.
        StartError: its Python can't be run.
    """
    with ExitStack() as stack:
        # Removed here, because a process that is ended removes nothing itself.
        folder = stack.enter_context(scratch())
        try:
            stderr = stack.enter_context(
                tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
            )
        except OSError as error:
            raise _no_temporary_file(error) from None
        checkout = checkout or here()
        try:
            process = subprocess.Popen(
                # Without -P a file in its working directory would hide a module of that name.
                [checkout.python, "-P", "-m", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={
                    **checkout.environment(),
                    **{name: str(folder) for name in ("TMPDIR", SCRATCH)},
                    PARENT: str(os.getpid()),
                    **(environment or {}),
                },
                cwd=checkout.root,
                start_new_session=True,  # so that it can be ended with all that it started
            )
        except OSError as error:
            raise StartError(
                f"{checkout.python} can't be run ({error.strerror}): make its environment again"
            ) from None
        worker = Worker(" ".join(command), checkout, process, stderr)
        with process:
            try:
                yield worker
            finally:
                worker.end()
                assert process.stdin is not None
                with suppress(BrokenPipeError):  # what it did not read is still to be written
                    process.stdin.close()


@dataclass(frozen=True)
class Finished:
    """The result of a command: its exit status, negative for a signal, and its output."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def reason(self) -> str:
        """Exit reason, as a message fragment."""
        return why_ended(self.status, self.stderr.decode(errors="replace"))


def run(
    *command: str | Path,
    timeout: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command to its end.

    Args:
        timeout: seconds after which it is ended.
        folder: where it runs; the current one by default.
        environment: its variables; those of this process by default.

    Raises:
        WorkerError: it did not end in time.
        OSError: there is no such command.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise WorkerError(f"{command[0]} failed", no_answer(timeout)) from None
        finally:
            end_tree(process.pid)
        return Finished(process.returncode, stdout, stderr)


def end_tree(pid: int) -> None:
    """Kill the process group that a process leads, and those that its descendants lead."""
    leaders = [pid]
    with suppress(psutil.NoSuchProcess):
        leaders += [process.pid for process in psutil.Process(pid).children(recursive=True)]
    for leader in leaders:
        with suppress(ProcessLookupError, PermissionError):  # it leads none, or they have ended
            os.killpg(leader, signal.SIGKILL)


def no_answer(timeout: float) -> str:
    """The reason of a process that was ended, as a message fragment."""
    return f"no answer within {timeout:g} s"


def why_ended(status: int, stderr: str) -> str:
    """Exit reason, as a message fragment: the signal, and the last line of its errors.

    Args:
        status: as ``subprocess`` gives it: negative for a signal.
    """
    last = last_line(stderr)
    if status < 0:
        died = f"it died of {signal.Signals(-status).name}"
        return f"{died}: {last}" if last else died
    return last or (f"exit status {status}" if status else "it ended without an answer")


def last_line(output: str) -> str:
    """The last line of what a process printed; empty where it printed nothing."""
    return (output.strip().splitlines() or [""])[-1].strip()
