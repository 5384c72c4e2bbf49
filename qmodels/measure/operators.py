"""Rows of the profiler's memory table: what an operator allocated over one forward."""

from collections.abc import Sequence
from dataclasses import dataclass

_TOP_ROWS = 10
RECORDED_ROWS = 25


@dataclass(frozen=True)
class Row:
    """One operator of the profiler's table.

    Attributes:
        cpu_bytes: net bytes, with callees.
        self_cpu_bytes: net bytes without callees.
    """

    name: str
    cpu_bytes: int
    self_cpu_bytes: int
    calls: int


def table(rows: Sequence[Row]) -> str:
    """The table as the profiler prints it: its columns, its top ten rows."""
    lines = [f"{'Name':<36}{'CPU Mem':>12}{'Self CPU Mem':>14}{'# of Calls':>12}"]
    lines += [
        f"{row.name:<36}{readable(row.cpu_bytes):>12}{readable(row.self_cpu_bytes):>14}{row.calls:>12}"
        for row in rows[:_TOP_ROWS]
    ]
    return "\n".join(lines)


def readable(size: int) -> str:
    """Bytes in the units that the profiler prints: Kb for 1,024 bytes, Mb for 1,048,576."""
    for scale, unit in ((2**20, "Mb"), (2**10, "Kb")):
        if abs(size) >= scale:
            return f"{size / scale:.2f} {unit}"
    return f"{size} b"
