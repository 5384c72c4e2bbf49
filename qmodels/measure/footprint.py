"""Run as a process of its own: load an artifact as a service would, run it, tell what it holds.

Nothing here imports torch: whether it is in the process is up to the runtime that is measured.
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

from qmodels import child

# Compilers that profile replace what they made after the first forwards.
FORWARDS = 5
# Page tables are walked for it, so that it is exact, where the counters of /proc/self/status are
# off by up to 128 kB a processor since Linux 6.2.
SMAPS = Path("/proc/self/smaps")
STATUS = Path("/proc/self/status")
PR_SET_THP_DISABLE = 41


@dataclass(frozen=True)
class Held:
    """Bytes that this process holds: of anonymous memory, and of pages of an artifact's files."""

    anonymous: int
    mapped: int


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """What an artifact takes, and what there is beside it.

    ``anonymous`` and ``mapped`` are bytes that came with the artifact, at the reading where they
    are most in all, and None where the kernel does not tell; ``resident`` is the peak of all that
    was in memory; ``torch`` whether this process has imported that.

    Memory is read after loading and after each forward, when what was freed has been handed back.
    A thread that reads all the time would see more, but no two runs the same: how much freed
    memory a process keeps for a while differs by more than the weights of a small network.

    Args:
        request: ``module``, see ``Format.served_by``; ``variant``; ``folder`` of its artifact;
            ``threads``.
    """
    images = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    folder = Path(request["folder"]).resolve()
    small_pages()
    load = import_module(request["module"]).loader(request["variant"], folder, request["threads"])
    started = time.time()

    def belongs(path: str) -> bool:
        """Whether a mapped file is the artifact's, or was unpacked from it.

        The latter was written after the start, and may be deleted as soon as it is mapped. The
        time of its inode would not do: an installer that links libraries into another environment
        sets that of libraries in use.
        """
        try:
            return Path(path).is_relative_to(folder) or Path(path).stat().st_mtime >= started
        except FileNotFoundError:
            return True

    reading(belongs)  # takes memory itself when it first runs
    before = reading(belongs)
    forward = load()
    readings = [reading(belongs)]
    for _ in range(FORWARDS):
        forward(images)
        readings.append(reading(belongs))
    told = [one for one in readings if one is not None]
    most = max(told, key=lambda one: one.anonymous + one.mapped, default=None)
    return {
        "anonymous": most and before and most.anonymous - before.anonymous,
        "mapped": most and before and most.mapped - before.mapped,
        "resident": peak_resident(),
        "torch": "torch" in sys.modules,
    }


def reading(belongs: Callable[[str], bool]) -> Held | None:
    """What this process holds, after handing back what it does not; None where nothing tells.

    Args:
        belongs: whether a mapped file counts, by its path.
    """
    if not SMAPS.exists():
        return None
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc; others keep less
    if trim is not None:
        trim(0)
    kilobytes = {"Anonymous:": 0, "Rss:": 0}
    counted = "Anonymous:"
    with SMAPS.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            field, *rest = line.split(maxsplit=5)
            if field == counted:
                kilobytes[field] += int(rest[0])
            elif not field.endswith(":"):  # a mapping begins: its addresses, at last its path
                path = rest[4].rstrip("\n") if len(rest) == 5 else ""
                # Of a file's pages, those that were written to are in both figures.
                counted = "Rss:" if path.startswith("/") and belongs(path) else "Anonymous:"
    return Held(1024 * kilobytes["Anonymous:"], 1024 * kilobytes["Rss:"])


def small_pages() -> None:
    """Have the kernel give out memory in small pages only: of huge ones, much is never touched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def peak_resident() -> int:
    """The most bytes that were resident so far; where no kernel counts that, those of now."""
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    except OSError:
        peaks = []
    return 1024 * peaks[0] if peaks else int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    child.serve(answer)
