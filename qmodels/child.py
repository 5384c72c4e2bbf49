"""Start a module of qmodels in a process of its own, and talk with it in lines of JSON."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from qmodels.errors import UserError

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
    """A running module: it reads requests from its standard input and answers each with a line."""

    module: str
    checkout: Checkout
    process: subprocess.Popen[str]
    errors: IO[str]

    def ask(self, request: object) -> Any:
        """The child's answer to a request.

        Raises:
            UserError: it ended instead, or printed something else.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (ValueError, BrokenPipeError):
            self.process.kill()
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().strip() or f"exit status {self.process.returncode}"
            raise UserError(
                f"{self.module} failed in {self.checkout.root}: {said.splitlines()[-1]}"
            ) from None


@contextmanager
def start(module: str, *, checkout: Checkout = HERE, steady_heap: bool = False) -> Iterator[Child]:
    """Run ``python -m module`` while the block lasts.

    Args:
        steady_heap: keep freed memory in the process: see ``STEADY_HEAP``.
    """
    environment = {**checkout.environment(), **(STEADY_HEAP if steady_heap else {})}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [checkout.python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            cwd=checkout.root,
        )
        with process:
            try:
                yield Child(module, checkout, process, errors)
            finally:
                process.kill()


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
