"""Accept entries of a run into the baselines of their machine classes and networks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qmodels.gate import stored
from qmodels.gate.baseline import Baseline, baseline_path
from qmodels.gate.entry import Entry, Key
from qmodels.gate.record import read_run
from qmodels.gate.run import Run, reasons_of
from qmodels.gate.tolerances import Tolerances
from qmodels.gate.verdict import compare_run
from qmodels.measure.metrics import LATENCY_CHANGE
from qmodels.system.errors import UserError


@dataclass(frozen=True)
class Accepted:
    """The effect of storing a run on one file.

    Attributes:
        stored: keys of the run's entries that the file has now.
        kept: the number of earlier entries that it still has beside them.
        dropped: names of earlier entries that it no longer has.
        refused: lines that say which entries of the run were not stored, and why.
    """

    path: Path
    stored: tuple[Key, ...]
    kept: int
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def accept(
    folder: Path,
    run: Run,
    *,
    file: Path | None = None,
    only: Collection[Key] | None = None,
    variants: Collection[str] | None = None,
    whole: bool = False,
) -> list[Accepted]:
    """Store entries of a run in the baselines of their machine classes and networks.

    A file that begins with a part of a run is marked as partial, until a whole run is stored in it.

    Latencies that were measured against a base revision, or in fewer processes than the stored
    ones, are refused. The file keeps its own.

    Args:
        file: that all entries are stored in instead.
        only: the entries to accept, all of the run by default.
        variants: those that exist; entries of others are dropped. None drops nothing.
        whole: whether the run has all that this machine can measure.

    Raises:
        UserError: a file can't be written, what is there is damaged, or ``file`` is of another
            class than an entry.
    """
    by_path: dict[Path, list[Entry]] = {}
    for key, entry in run.entries.items():
        if only is None or key in only:
            path = file or baseline_path(folder, entry.machine_class, key.network)
            by_path.setdefault(path, []).append(entry)
    return [
        _store(path, entries, variants, whole=whole, skipped=run.skipped)
        for path, entries in by_path.items()
    ]


def keys_to_accept(run: Run, baseline: Baseline | None, tolerances: Tolerances) -> set[Key]:
    """The entries of a run that have a metric which is not within its tolerance."""
    findings = compare_run(run, baseline, tolerances)
    return {finding.key for finding in findings if finding.verdict != "ok"} & run.entries.keys()


def _store(
    path: Path,
    entries: Sequence[Entry],
    variants: Collection[str] | None,
    *,
    whole: bool,
    skipped: Mapping[str, Sequence[str]],
) -> Accepted:
    """Store entries of one machine class and network in a file; see ``accept``.

    Args:
        skipped: variants that could not run, by the reason. The file keeps the reason of each
            that it has no entry of.
    """
    there = read_run(path) if path.exists() else None
    machine_class = (there and there.machine_class) or entries[0].machine_class
    for entry in entries:
        if machine_class != entry.machine_class:
            raise UserError(
                f"baseline {path} is of {machine_class}, and {entry.name} was measured on "
                f"{entry.machine_class}: leave out --baseline, or name a file of that class"
            )
    before = there.entries if there else {}
    partial = not whole and (there is None or there.partial)
    dropped = [
        entry for entry in before.values() if variants is not None and entry.variant not in variants
    ]
    after = {key: entry for key, entry in before.items() if entry not in dropped}
    taken, refused = [], []
    for entry in entries:
        reason = _refusal(entry, before.get(entry.key))
        if reason:
            refused.append(f"{entry.name} not stored: {reason}")
        else:
            after[entry.key] = entry
            taken.append(entry.key)
    if taken or dropped:
        reasons = {**(reasons_of(there.skipped) if there else {}), **reasons_of(skipped)}
        for name in {entry.variant for entry in (*after.values(), *dropped)}:
            reasons.pop(name, None)
        stored.write(path, machine_class, list(after.values()), reasons, partial=partial)
    return Accepted(
        path,
        tuple(taken),
        len(after) - len(taken),
        tuple(entry.name for entry in dropped),
        tuple(refused),
    )


def _refusal(now: Entry, before: Entry | None) -> str | None:
    if LATENCY_CHANGE.name in now.metrics:
        return "it was measured against a base revision; store a run without --qmodels-base"
    for name, accepted in (before.metrics if before else {}).items():
        if name in now.unmeasured:
            return (
                f"it lacks {name} ({now.unmeasured[name]}), and the stored one has it; "
                "make it again on a machine that measures it"
            )
        count = len(now.metrics[name].samples) if name in now.metrics else 0
        if count < len(accepted.samples):
            return (
                f"{name} is of {count} processes, and the stored one of {len(accepted.samples)}; "
                "make it again with --qmodels-update-baseline"
            )
    return None
