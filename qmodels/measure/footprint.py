"""Run as a process of its own: serve an artifact as a deployment would, and read its memory.

Nothing here imports torch: the runtime that is measured decides whether it is in the process.
"""

import ctypes
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from qmodels.system import child

# A profiling compiler replaces its code after the first forwards.
_FORWARDS = 5
# The kernel walks page tables for it, so it is exact. Since Linux 6.2 the counters of
# /proc/self/status are off by up to 128 kB a processor.
SMAPS = Path("/proc/self/smaps")
_STATUS = Path("/proc/self/status")
_PR_SET_THP_DISABLE = 41
# With these variables glibc alone allocates, all blocks lie in one heap, and glibc reports how much
# of it is in use. By default a large block lies in the heap only if imports left room there. Only
# there it would count in full. MKL's own buffers take 0.7 MB on some processors.
ONE_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MKL_DISABLE_FAST_MM": "1",
    "PYTHONMALLOC": "malloc",
}


@dataclass(frozen=True)
class Held:
    """Bytes that this process holds: memory in use, and pages of the artifact's files."""

    used: int
    mapped: int


class Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc; ``arena``: bytes of the heap; ``uordblks``: those in use."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def obstacle() -> str | None:
    """Why the memory of a process is not known on this system; None where it is."""
    if not SMAPS.exists():
        return f"this system has no {SMAPS}"
    if getattr(ctypes.CDLL(None), "mallinfo2", None) is None:
        return "its C library is not glibc 2.33 or later"
    if not mallinfo().arena:
        return "another allocator replaces glibc's: leave it out of LD_PRELOAD"
    return None


def mallinfo() -> Mallinfo:
    """Statistics of glibc's heap."""
    report = ctypes.CDLL(None).mallinfo2
    report.restype = Mallinfo
    information: Mallinfo = report()
    return information


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """The memory that an artifact takes.

    The request is not decoded: what decodes would count as resident.

    Memory is read after loading and after each forward. A thread that reads all the time would
    see more, but its readings do not repeat. Free blocks between used ones do not count: how many
    there are varies by more than the weights of a small network, and imports leave some.

    Args:
        request: the ``module`` whose ``loader`` serves the artifact of a ``variant`` in a
            ``folder``, how many ``threads``, and the ``input_shape`` (C, H, W).

    Returns:
        ``used`` and ``mapped``: bytes that came with the artifact, at the reading where their sum
        is largest; None where ``obstacle`` says why. ``resident``: peak bytes of all that was in
        memory. ``torch``: whether this process has imported it.
    """
    shape = (1, *request["input_shape"])
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    folder = Path(request["folder"]).resolve()
    _small_pages()
    load = import_module(request["module"]).loader(request["variant"], folder, request["threads"])
    # An artifact is unpacked into the temporary folder, which is this process's own. An unpacked
    # file may be deleted as soon as it is mapped.
    places = (f"{folder}{os.sep}", f"{Path(tempfile.gettempdir()).resolve()}{os.sep}")

    def belongs(path: str) -> bool:
        """Whether a mapped file is the artifact's, or was unpacked from it."""
        return path.startswith(places)

    read(belongs)  # the first takes memory itself
    before = read(belongs)
    forward = load()
    readings = [read(belongs)]
    for _ in range(_FORWARDS):
        forward(images)
        readings.append(read(belongs))
    known = [held for held in readings if held is not None]
    most = max(known, key=lambda held: held.used + held.mapped, default=None)
    return {
        "used": most and before and most.used - before.used,
        "mapped": most and before and most.mapped - before.mapped,
        "resident": _peak_resident(),
        "torch": "torch" in sys.modules,
    }


def read(belongs: Callable[[str], bool]) -> Held | None:
    """The memory that this process holds now; None where ``obstacle`` says why.

    Of the heap, the blocks in use count; of other anonymous memory, the pages that were touched.

    Args:
        belongs: whether a mapped file counts, by its path.
    """
    if obstacle() is not None:
        return None
    gc.collect()
    used, mapped = mallinfo().uordblks, 0
    with SMAPS.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            field, *rest = line.split(maxsplit=5)
            if not field.endswith(":"):  # a mapping begins: its addresses first, its path last
                path = rest[4].rstrip("\n") if len(rest) == 5 else ""
                of_artifact = path.startswith("/") and belongs(path)
            elif field == "Rss:" and of_artifact:
                mapped += 1024 * int(rest[0])
            # Pages of a file that were written to are resident and anonymous.
            elif field == "Anonymous:" and not of_artifact and path != "[heap]":
                used += 1024 * int(rest[0])
    return Held(used, mapped)


def _small_pages() -> None:
    """Forbid huge pages, of which much is never touched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def _peak_resident() -> int:
    """Peak resident bytes; those of now where no kernel counts the peak."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    except OSError:
        peaks = []
    return 1024 * peaks[0] if peaks else int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    child.serve(answer)
