"""The main loop of a worker: answer requests in lines of JSON, and end with the parent."""

import json
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from qmodels.system.errors import UserError
from qmodels.system.worker import PARENT, SCRATCH

# Between looks for the parent of a process whose standard input was closed.
_LOOK_SECONDS = 0.5


def serve(answer: Callable[[Any], Mapping[str, Any]]) -> None:
    """Answer requests until there are no more, or until the parent was killed.

    Whatever else writes to the standard output, as runtimes and their progress bars do, goes to
    the standard error.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The parent waits for the end of this stream, and then reads the error of the process.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
    except UserError as error:
        # Not left to ``sys.exit``, which prints after Python has closed what this frame holds.
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
    answers.close()
    _end()


def _end_with_parent() -> None:
    """End with a parent that is killed, which ends nothing itself.

    Its end of the standard input closes then, but so does that of a parent which only has no more
    requests. It may have died before this process runs.
    """
    starter = os.getppid()  # the parent, or a script that starts this Python
    parent = int(os.environ.get(PARENT, starter))
    hangup = select.poll()
    hangup.register(0, 0)
    hangup.poll()
    while os.getppid() == starter and is_running(parent):
        time.sleep(_LOOK_SECONDS)
    _end()


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end() -> None:
    folder = os.environ.get(SCRATCH)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
