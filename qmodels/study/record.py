"""Record pairs of processes, of the same code and of slowed code, for rules to be tried on."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from rich.console import Console

from qmodels import store
from qmodels.child import HERE
from qmodels.errors import UserError
from qmodels.measure import latency
from qmodels.measure.latency import Seconds, Side
from qmodels.measure.stopwatch import PROBE
from qmodels.study.process import WORK
from qmodels.variants import Artifact

BATCH_SIZES = (1, 8)
THREADS = 1
COMMAND = ("qmodels.study.process",)
# Percent of work added, pair by pair: two pairs of the same code, then one with a slowed head.
PLANTED = (0, 0, 3, 0, 0, 5, 0, 0, 10, 0, 0, 20)
# A neighbour that comes and goes: seconds that it works, and rests, at most.
LONGEST_BURST = 4.0
BUSY = f"""
import os, random, time
parent = os.getppid()
while os.getppid() == parent:
    end = time.monotonic() + random.uniform(0.1, {LONGEST_BURST})
    while time.monotonic() < end:
        sum(range(10000))
    time.sleep(random.uniform(0.1, {LONGEST_BURST}))
"""


@dataclass(frozen=True)
class Row:
    """One variant in one pair of processes.

    Attributes:
        pair: number of the pair.
        minute: since the recording began.
        planted: percent of work added to the head.
        change: logarithm of head's time by base's, visit beside visit.
        base_x_fp32, head_x_fp32: logarithm of the time by fp32's of the same process.
        base_x_probe, head_x_probe: by the probe's.
        base_median, head_median, base_mean, head_mean: microseconds, of all forwards.
    """

    pair: int
    minute: float
    variant: str
    batch_size: int
    planted: int
    change: float
    base_x_fp32: float
    head_x_fp32: float
    base_x_probe: float
    head_x_probe: float
    base_median: float
    head_median: float
    base_mean: float
    head_mean: float


HEADER = [field.name for field in fields(Row)]


def record(
    artifacts: Mapping[str, Artifact], path: Path, pairs: int, *, busy: bool, console: Console
) -> list[Row]:
    """Rows of so many pairs: those that the file has, and as many more as are missing.

    Args:
        artifacts: by variant; fp32 among them.
        path: the CSV file, which grows by a pair at a time.
        busy: have another process use a processor on and off.
    """
    rows = read(path)
    done = 1 + max((row.pair for row in rows), default=-1)
    if done >= pairs:
        return rows
    folders = {name: str(artifact.folder) for name, artifact in artifacts.items()}
    units = planned_units(path.with_suffix(".plan.json"), folders)
    # What a kill left of a pair goes.
    store.write_text(path, "\n".join([",".join(HEADER), *map(as_line, rows)]) + "\n")
    started = time.monotonic() - 60 * max((row.minute for row in rows), default=0.0)
    with neighbour(busy), console.status("") as status:
        for pair in range(done, pairs):
            planted = PLANTED[pair % len(PLANTED)]
            status.update(f"pair {pair + 1} of {pairs}, {planted} % of work added")
            minute = (time.monotonic() - started) / 60
            more = measure_pair(pair, minute, folders, units.get(planted, {}), planted)
            store.append_line(path, "\n".join(as_line(row) for row in more))
            rows += more
    return rows


def read(path: Path) -> list[Row]:
    """The rows of a recording, without a pair that was cut short; none where there is no file.

    Raises:
        UserError: it is something else, which is left as it is.
    """
    if not path.exists():
        return []
    try:
        # A last line without its end was cut short.
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        header, *lines = csv.reader(whole)
        if header != HEADER:
            raise ValueError
        kinds = [field.type for field in fields(Row)]
        rows = [
            Row(*(kind(text) for kind, text in zip(kinds, line, strict=True)))  # type: ignore[operator]
            for line in lines
        ]
    except (OSError, ValueError):
        raise UserError(f"{path} is no recording of this study: name another file") from None
    expected = len({(row.variant, row.batch_size) for row in rows})
    counts = {row.pair: 0 for row in rows}
    for row in rows:
        counts[row.pair] += 1
    return [row for row in rows if counts[row.pair] == expected]


def as_line(row: Row) -> str:
    """A line of the file."""
    return ",".join(f"{one:.5g}" if isinstance(one, float) else str(one) for one in astuple(row))


def planned_units(path: Path, folders: Mapping[str, str]) -> dict[int, dict[str, dict[int, int]]]:
    """Units of work by percentage, variant and batch size: measured once, then kept."""
    if not path.exists():
        names = [*folders, WORK]
        (found,) = timed([serving(folders, {})], dict.fromkeys(BATCH_SIZES, names))
        seconds = {key: float(np.median(times)) for key, times in found.items()}
        plan = {
            str(percent): {
                name: {
                    str(size): round(
                        percent / 100 * seconds[name, size] / (seconds[WORK, size] / 1000)
                    )
                    for size in BATCH_SIZES
                }
                for name in folders
            }
            for percent in sorted(set(PLANTED) - {0})
        }
        store.write_text(path, json.dumps(plan, indent=1) + "\n")
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {
        int(percent): {
            name: {int(size): count for size, count in sizes.items()}
            for name, sizes in variants.items()
        }
        for percent, variants in stored.items()
    }


def measure_pair(
    pair: int,
    minute: float,
    folders: Mapping[str, str],
    units: Mapping[str, Mapping[int, int]],
    planted: int,
) -> list[Row]:
    """Rows of one pair of fresh processes; the head's models are slowed where there are units."""
    models = {size: [PROBE, *folders] for size in BATCH_SIZES}
    base, head = timed([serving(folders, {}), serving(folders, units)], models)
    return [
        row(pair, minute, name, size, planted, base, head)
        for name in folders
        for size in BATCH_SIZES
    ]


def serving(folders: Mapping[str, str], units: Mapping[str, Mapping[int, int]]) -> Side:
    """A process with models of this code, slowed where there are units."""
    return Side(HERE, {"artifacts": dict(folders), "units": units}, COMMAND)


def timed(
    sides: Sequence[Side], models: Mapping[int, Sequence[str]]
) -> tuple[dict[tuple[str, int], Seconds], ...]:
    """Seconds by model and batch size, for each side.

    Raises:
        UserError: a model failed: a recording is of all of them.
    """
    found = latency.measure(sides, models, THREADS)
    for line in found.failures.values():
        raise UserError(line)
    return found.sides


def row(
    pair: int,
    minute: float,
    name: str,
    size: int,
    planted: int,
    base: Mapping[tuple[str, int], Seconds],
    head: Mapping[tuple[str, int], Seconds],
) -> Row:
    """What is kept of the times of a variant in a pair."""
    before, after = base[name, size], head[name, size]
    return Row(
        pair=pair,
        minute=minute,
        variant=name,
        batch_size=size,
        planted=planted,
        change=latency.log_ratio(after, before),
        base_x_fp32=latency.log_ratio(before, base["fp32", size]),
        head_x_fp32=latency.log_ratio(after, head["fp32", size]),
        base_x_probe=latency.log_ratio(before, base[PROBE, size]),
        head_x_probe=latency.log_ratio(after, head[PROBE, size]),
        base_median=1e6 * float(np.median(before)),
        head_median=1e6 * float(np.median(after)),
        base_mean=1e6 * float(np.mean(before)),
        head_mean=1e6 * float(np.mean(after)),
    )


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Another process that keeps a processor busy on and off, where that is wanted."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()
