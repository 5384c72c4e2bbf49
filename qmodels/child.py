"""Start a module of qmodels in a process of its own, and talk with it in lines of JSON."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from qmodels.errors import UserError

# For whatever takes no longer than minutes, even on a busy machine.
ANSWER_SECONDS = 1800.0
# Allocations that glibc hands back to the system cost page faults in the next forward, more or
# fewer by what else the process has allocated: a forward of eight images took 7 % more or less
# time by it, and 1.3 % with these. Other allocators ignore them.
STEADY_HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}


@dataclass(frozen=True)
class Checkout:
    """Code to run: the folder that holds the package ``qmodels``, and the Python that runs it."""

    root: Path
    python: Path

    def environment(self) -> dict[str, str]:
        """Variables with which its Python imports the package from there, installed or not."""
        path = os.pathsep.join([str(self.root), os.environ.get("PYTHONPATH", "")])
        return {**os.environ, "PYTHONPATH": path}


HERE = Checkout(Path(__file__).parents[1], Path(sys.executable))


@dataclass(frozen=True)
class Child:
    """A running command: it reads requests from its standard input and answers each with a line."""

    command: str
    checkout: Checkout
    process: subprocess.Popen[str]
    errors: IO[str]

    def ask(self, request: object, *, limit: float = ANSWER_SECONDS) -> Any:
        """The child's answer to a request.

        Args:
            limit: seconds after which it is ended instead.

        Raises:
            UserError: it gave none in time, ended, or printed something else.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        alarm = threading.Timer(limit, self.end)
        alarm.start()
        started = time.monotonic()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (ValueError, BrokenPipeError):
            late = time.monotonic() - started >= limit
            self.end()
            with suppress(BrokenPipeError):  # what it did not read is still to be written
                self.process.stdin.close()
            said = f"no answer within {limit:g} s" if late else self.last_words()
            raise UserError(f"{self.command} failed in {self.checkout.root}: {said}") from None
        finally:
            alarm.cancel()

    def end(self) -> None:
        """End it, and the processes that it started."""
        with suppress(ProcessLookupError, PermissionError):  # they ended before
            os.killpg(self.process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """What a child that has ended died of, in part of a line."""
        status = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip() or f"exit status {status}"
        return said.splitlines()[-1]


@contextmanager
def start(*command: str, checkout: Checkout = HERE, steady_heap: bool = False) -> Iterator[Child]:
    """Run ``python -m command`` while the block lasts.

    Args:
        command: a module and its arguments.
        steady_heap: keep freed memory in the process: see ``STEADY_HEAP``.
    """
    environment = {**checkout.environment(), **(STEADY_HEAP if steady_heap else {})}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [checkout.python, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            cwd=checkout.root,
            start_new_session=True,  # so that it can be ended with all that it started
        )
        one = Child(" ".join(command), checkout, process, errors)
        with process:
            try:
                yield one
            finally:
                one.end()


def serve(answer: Callable[[Any], Any]) -> None:
    """In the child: answer requests until there are no more.

    Whatever else writes to the standard output, as runtimes and their progress bars do, goes to
    the standard error.
    """
    # Their end says that the process has said all that it had to say, what it dies of included.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
    except UserError as error:
        # Not left to ``sys.exit``, which prints after Python has closed what this frame holds.
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
