"""Run as a process of its own: serve an artifact as a deployment would, and read its memory.

Nothing here imports torch: the runtime that is measured decides whether it is in the process.
"""

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from qmodels.system import worker

# A profiling compiler replaces its code after the first forwards.
FORWARDS = 5
# The kernel walks page tables for it, so it is exact. Since Linux 6.2 the counters of
# /proc/self/status are off by up to 128 kB a processor.
SMAPS = Path("/proc/self/smaps")
STATUS = Path("/proc/self/status")
PR_SET_THP_DISABLE = 41


@dataclass(frozen=True)
class Held:
    """Bytes that this process holds: anonymous memory, and pages of the artifact's files."""

    anonymous: int
    mapped: int


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The memory that an artifact takes.

    Memory is read after loading and after each forward, when freed memory has been handed back.
    A thread that reads all the time would see more, but its readings do not repeat. The freed
    memory that a process keeps varies by more than the weights of a small network.

    Args:
        request: the ``module`` whose ``loader`` serves the artifact of a ``variant`` in a
            ``folder``, how many ``threads``, and the ``input_shape`` (C, H, W).

    Returns:
        ``anonymous`` and ``mapped``: bytes that came with the artifact, at the reading where
        their sum is largest; None where the kernel does not say. ``resident``: peak bytes of all
        that was in memory. ``torch``: whether this process has imported it.
    """
    shape = (1, *request["input_shape"])
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    folder = Path(request["folder"]).resolve()
    small_pages()
    load = import_module(request["module"]).loader(request["variant"], folder, request["threads"])
    started = time.time()

    def belongs(path: str) -> bool:
        """Whether a mapped file is the artifact's, or was unpacked from it.

        The latter was written after the start, and may be deleted as soon as it is mapped. An
        inode's change time would not do: installers that hard-link libraries set it anew.
        """
        try:
            return Path(path).is_relative_to(folder) or Path(path).stat().st_mtime >= started
        except FileNotFoundError:
            return True

    reading(belongs)  # the first takes memory itself
    before = reading(belongs)
    forward = load()
    readings = [reading(belongs)]
    for _ in range(FORWARDS):
        forward(images)
        readings.append(reading(belongs))
    known = [held for held in readings if held is not None]
    most = max(known, key=lambda held: held.anonymous + held.mapped, default=None)
    return {
        "anonymous": most and before and most.anonymous - before.anonymous,
        "mapped": most and before and most.mapped - before.mapped,
        "resident": peak_resident(),
        "torch": "torch" in sys.modules,
    }


def reading(belongs: Callable[[str], bool]) -> Held | None:
    """What this process holds after freed memory was handed back; None without ``SMAPS``.

    Args:
        belongs: whether a mapped file counts, by its path.
    """
    if not SMAPS.exists():
        return None
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; other allocators keep less
    if trim is not None:
        trim(0)
    kilobytes = {"Anonymous:": 0, "Rss:": 0}
    counted = "Anonymous:"
    with SMAPS.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            field, *rest = line.split(maxsplit=5)
            if field == counted:
                kilobytes[field] += int(rest[0])
            elif not field.endswith(":"):  # a mapping begins: its addresses first, its path last
                path = rest[4].rstrip("\n") if len(rest) == 5 else ""
                # Pages of a file that were written to are in both figures.
                counted = "Rss:" if path.startswith("/") and belongs(path) else "Anonymous:"
    return Held(1024 * kilobytes["Anonymous:"], 1024 * kilobytes["Rss:"])


def small_pages() -> None:
    """Forbid huge pages, of which much is never touched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def peak_resident() -> int:
    """Peak resident bytes; those of now where no kernel counts the peak."""
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    except OSError:
        peaks = []
    return 1024 * peaks[0] if peaks else int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    worker.serve(answer)
