"""Record pairs of processes, of the same code and of slowed code, to try rules on."""

import csv
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from rich.console import Console

from docs.study.slowed_worker import WORK, WORK_UNITS
from qmodels.base.arms import Arm, time_arms
from qmodels.measure import latency
from qmodels.measure.latency import Seconds
from qmodels.measure.latency_worker import PROBE
from qmodels.system import files, worker
from qmodels.system.checkout import THIS_CHECKOUT
from qmodels.system.errors import UserError
from qmodels.variants import Artifact

BATCH_SIZES = (1, 8)
THREADS = 1
COMMAND = ("docs.study.slowed_worker",)
NEIGHBOUR = "docs.study.neighbour"
# Percent of work added to the head, pair by pair; 0: the same code.
PLANTED = (0, 3, 5, 0, 3, 5, 0, 20)


@dataclass(frozen=True)
class Row:
    """One variant in one pair of processes.

    Attributes:
        pair: number of the pair.
        minute: since the recording began.
        planted: percent of work added to the head.
        change: log(head / base), paired by visit.
        base_x_fp32, head_x_fp32: log(time / fp32's time) in the same process.
        base_x_probe, head_x_probe: log(time / the probe's time).
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
    """Rows of a number of pairs: those in the file, and newly measured ones for the rest.

    Args:
        artifacts: by variant; fp32 among them.
        path: the CSV file, which grows by a pair at a time.
        pairs: how many.
        busy: have another process keep a processor busy on and off.

    Raises:
        UserError: the file is something else, or a model failed.
    """
    rows = read(path)
    done = next_pair(rows)
    folders = {name: str(artifact.folder) for name, artifact in artifacts.items()}
    units = planned_units(path.with_suffix(".plan.json"), folders)
    # A pair that a kill cut short is dropped.
    files.write_text(path, "\n".join([",".join(HEADER), *map(as_line, rows)]) + "\n")
    started = time.monotonic() - 60 * max((row.minute for row in rows), default=0.0)
    neighbour = worker.start(NEIGHBOUR) if busy else nullcontext()
    with neighbour, console.status("") as status:
        for pair in range(done, pairs):
            planted = PLANTED[pair % len(PLANTED)]
            status.update(f"pair {pair + 1} of {pairs}, {planted} % of work added")
            minute = (time.monotonic() - started) / 60
            measured = measure_pair(pair, minute, folders, units.get(planted, {}), planted)
            files.append_line(path, "\n".join(as_line(row) for row in measured))
            rows += measured
    return rows


def read(path: Path) -> list[Row]:
    """The rows of a recording, except of a pair that was cut short; none without a file.

    Raises:
        UserError: the file is something else; it is left as it is.
    """
    if not path.exists():
        return []
    try:
        # The last line may be cut short.
        lines = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        header, *records = csv.reader(lines)
        if header != HEADER:
            raise ValueError
        kinds = [field.type for field in fields(Row)]
        rows = [
            Row(*(kind(text) for kind, text in zip(kinds, values, strict=True)))  # type: ignore[operator]
            for values in records
        ]
    except (OSError, ValueError):
        raise UserError(f"{path} is no recording of this study: name another file") from None
    expected = len({(row.variant, row.batch_size) for row in rows})
    counts = {row.pair: 0 for row in rows}
    for row in rows:
        counts[row.pair] += 1
    return [row for row in rows if counts[row.pair] == expected]


def next_pair(rows: Sequence[Row]) -> int:
    """The number of the pair that follows the recorded ones."""
    return 1 + max((row.pair for row in rows), default=-1)


def as_line(row: Row) -> str:
    """A line of the file."""
    values = astuple(row)
    return ",".join(f"{value:.5g}" if isinstance(value, float) else str(value) for value in values)


def planned_units(path: Path, folders: Mapping[str, str]) -> dict[int, dict[str, dict[int, int]]]:
    """Units of work by percentage, variant and batch size; measured once, then kept in a file."""
    if not path.exists():
        names = [*folders, WORK]
        (times,) = measure([arm(folders, {})], dict.fromkeys(BATCH_SIZES, names))
        seconds = {key: float(np.median(forwards)) for key, forwards in times.items()}
        plan = {
            str(percent): {
                name: {
                    str(size): round(
                        percent / 100 * seconds[name, size] / (seconds[WORK, size] / WORK_UNITS)
                    )
                    for size in BATCH_SIZES
                }
                for name in folders
            }
            for percent in sorted(set(PLANTED) - {0})
        }
        files.write_text(path, json.dumps(plan, indent=1) + "\n")
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
    """Rows of one pair of fresh processes; ``units`` of work slow the head's models."""
    models = {size: [PROBE, *folders] for size in BATCH_SIZES}
    base, head = measure([arm(folders, {}), arm(folders, units)], models)
    return [
        row(pair, minute, name, size, planted, base, head)
        for name in folders
        for size in BATCH_SIZES
    ]


def arm(folders: Mapping[str, str], units: Mapping[str, Mapping[int, int]]) -> Arm:
    """A process with models of this code, slowed by ``units`` of work."""
    return Arm(THIS_CHECKOUT, {"artifacts": dict(folders), "units": units}, COMMAND)


def measure(
    arms: Sequence[Arm], models: Mapping[int, Sequence[str]]
) -> tuple[dict[tuple[str, int], Seconds], ...]:
    """Seconds by model and batch size, for each arm.

    Raises:
        UserError: a model failed: a recording covers all of them.
    """
    times = time_arms(arms, models, THREADS)
    for line in times.failures.values():
        raise UserError(line)
    return times.processes


def row(
    pair: int,
    minute: float,
    name: str,
    size: int,
    planted: int,
    base: Mapping[tuple[str, int], Seconds],
    head: Mapping[tuple[str, int], Seconds],
) -> Row:
    """The row of a variant in a pair."""
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
