"""Baselines: stored runs that later ones are compared with, and where they lie."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from qmodels.gate.classes import is_processor, nearest
from qmodels.gate.entry import Entry, Key
from qmodels.gate.record import read_run
from qmodels.gate.run import reasons_of
from qmodels.system.errors import UserError
from qmodels.system.files import shown


@dataclass(frozen=True)
class Baseline:
    """Stored runs, or the run of a base, which a run is compared with.

    Attributes:
        path: of the first file; of a base, of its code.
        from_base: whether a base measured it on this machine just now.
        partial_for: machine classes of which no whole run is stored. An absent entry of such a
            class is new. An absent entry of another class is missing.
        failures: of a base, why benches failed there, by name.
        skipped: variants that could not run in the base, or when the first file was stored, by the
            reason.
    """

    path: Path
    entries: Mapping[Key, Entry]
    from_base: bool = False
    partial_for: frozenset[str] = frozenset()
    failures: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The path as people type it; a base has none that they know."""
        return "The base" if self.from_base else shown(self.path)

    def absence(self, bench: str, variant: str) -> str:
        """Why it has no entry of a bench of a variant, as a sentence."""
        if bench in self.failures:
            return f"The base failed to measure it: {self.failures[bench]}"
        why = reasons_of(self.skipped).get(variant)
        return f"{self.shown} has no {bench}" + (f" (skipped: {why})" if why else "")


def baseline_path(folder: Path, machine_class: str, network: str) -> Path:
    """The file that stores the baseline of a machine class and a network."""
    return folder / machine_class / f"{network}.json"


def find_baseline(folder: Path, machine_classes: Iterable[str], network: str) -> Baseline | None:
    """The stored runs that fit a machine: of its own classes, or of the nearest ones.

    A partial file is completed, entry by entry, from that of the nearest class.

    Args:
        folder: of all baselines.
        machine_classes: of the processor, and of the GPU where there is one.

    Raises:
        UserError: a file is damaged.
    """
    files: list[Baseline] = []
    partial_for = set()
    for machine_class in machine_classes:
        chain = list(_files_of(folder, machine_class, network))
        own = baseline_path(folder, machine_class, network)
        # No class is near to a GPU's: what it measures is new until a run of it is stored.
        if not chain and not is_processor(machine_class):
            partial_for.add(machine_class)
        if chain and (chain[0].path != own or chain[0].partial_for):
            partial_for.add(machine_class)
        files += chain
    if not files:
        return None
    entries = {key: entry for file in reversed(files) for key, entry in file.entries.items()}
    return replace(files[0], entries=entries, partial_for=frozenset(partial_for))


def _files_of(folder: Path, machine_class: str, network: str) -> Iterator[Baseline]:
    """The stored runs of a machine class and of those nearest to it, up to the first whole one."""
    stored = sorted(path.parent.name for path in folder.glob(f"*/{network}.json"))
    for candidate in (machine_class, *nearest(machine_class, stored)):
        baseline = read_baseline(baseline_path(folder, candidate, network), candidate)
        if baseline is None:
            continue
        yield baseline
        if not baseline.partial_for:
            return


def read_baseline(path: Path, machine_class: str | None = None) -> Baseline | None:
    """The baseline stored at a path; None where there is none.

    Args:
        machine_class: the class that it has to be of; any by default.
    """
    if not path.exists():
        return None
    run = read_run(path)
    if machine_class is not None and run.machine_class != machine_class:
        raise UserError(
            f"baseline {path} was made on {run.machine_class}, and this is {machine_class}: "
            "int8 results differ between the two; move it where it belongs, and make one here "
            "with --qmodels-update-baseline"
        )
    partial = [run.machine_class] if run.partial and run.machine_class else []
    return Baseline(path, run.entries, partial_for=frozenset(partial), skipped=run.skipped)
