"""Baselines: stored runs that later ones are compared with, and where they lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qmodels.gate.classes import nearest
from qmodels.gate.entry import Entry, Key
from qmodels.gate.run import read_run, shown
from qmodels.system.errors import UserError


@dataclass(frozen=True)
class Baseline:
    """What a run is compared with: a stored run, or the run of a base beside it.

    Attributes:
        path: of the file; of a base, of its code.
        beside: whether a base measured it on this machine just now.
    """

    path: Path
    entries: Mapping[Key, Entry]
    beside: bool = False

    @property
    def shown(self) -> str:
        """The path as people type it."""
        return shown(self.path)

    def joined(self, other: "Baseline | None") -> "Baseline":
        """This baseline with the entries of another one, such as a GPU's."""
        more = other.entries if other else {}
        return Baseline(self.path, {**self.entries, **more}, self.beside)


def baseline_path(folder: Path, machine_class: str, network: str) -> Path:
    """The file that stores the baseline of a machine class and a network."""
    return folder / machine_class / f"{network}.json"


def find_baseline(
    folder: Path, machine_class: str, network: str, checkpoint: str | None
) -> Baseline | None:
    """The baseline of a machine class, or else of the nearest class that has these weights.

    Args:
        folder: of all baselines.
        checkpoint: the first digits of the digest of the weights; None where any will do.

    Raises:
        UserError: a file is damaged.
    """
    stored = sorted(path.parent.name for path in folder.glob(f"*/{network}.json"))
    for candidate in (machine_class, *nearest(machine_class, stored)):
        baseline = read_baseline(baseline_path(folder, candidate, network), candidate)
        if baseline is None:
            continue
        weights = {entry.conditions["checkpoint"] for entry in baseline.entries.values()}
        if checkpoint is None or checkpoint in weights:
            return baseline
    return None


def read_baseline(path: Path, machine_class: str | None = None) -> Baseline | None:
    """The baseline stored at a path; None where there is none.

    Args:
        machine_class: the class that it has to be of; any by default.

    Raises:
        UserError: it is damaged, of a later format, or was made on another machine class.
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
    return Baseline(path, run.entries)
