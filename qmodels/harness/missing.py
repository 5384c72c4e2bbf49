"""Stored entries and variants of the base that a run should have measured and did not."""

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from qmodels import gate, variants
from qmodels.harness.plugin import BENCHES
from qmodels.harness.results import bench_name
from qmodels.harness.settings import Settings, stored_by_base
from qmodels.system import machine


@dataclass(frozen=True)
class Collected:
    """The benches that pytest collected, chosen by the command line or not.

    Attributes:
        functions: names of the functions of benches that were chosen.
        files: that these are in.
        folders: of these files, where pytest was to collect the whole folder.
        left_out: names of benches that were not chosen.
    """

    root: Path
    functions: frozenset[str]
    files: frozenset[Path]
    folders: frozenset[Path]
    left_out: frozenset[str]

    @classmethod
    def of(
        cls,
        benches: Sequence[pytest.Function],
        chosen: Container[pytest.Item],
        session: pytest.Session,
    ) -> "Collected":
        """The chosen and the other benches of a session."""
        run = [bench for bench in benches if bench in chosen]
        files = {bench.path for bench in run}
        return cls(
            root=session.config.rootpath.resolve(),
            functions=frozenset(bench.originalname for bench in run),
            files=frozenset(file.resolve() for file in files),
            folders=frozenset(
                file.parent.resolve()
                for file in files
                if any(map(session.isinitpath, (file.parent, *file.parent.parents)))
            ),
            left_out=frozenset(bench_name(bench) for bench in benches if bench not in chosen),
        )

    def is_whole(self, settings: Settings) -> bool:
        """Whether a run has all that this machine can measure, as far as that is known.

        All packaged benches, and the benches and variants of the stored runs that it was compared
        with. Options and plugins may leave out files, and no hook reports that.
        """
        stored = settings.baseline.entries.values() if settings.baseline else ()
        files = {file.resolve() for file in BENCHES.glob("bench_*.py")}
        files |= {self.file_of(entry) for entry in stored}
        known = {entry.key.variant for entry in stored}.intersection(variants.all_variants())
        return (
            not self.left_out
            and all(file in self.files for file in files if file.exists())
            and known.issubset(settings.variants)
        )

    def file_of(self, entry: gate.Entry) -> Path:
        """Where the bench of a stored entry was."""
        return (self.root / entry.nodeid.partition("::")[0]).resolve()

    def lacks(self, entry: gate.Entry) -> bool:
        """Whether this run should have the bench of a stored entry.

        A run should have all benches of its functions and of its files, but for those that were
        not chosen. Of a folder that was collected, it should have all files.
        """
        if entry.name in self.left_out:
            return False
        file = self.file_of(entry)
        gone = file.parent in self.folders and not file.exists()
        return entry.key.bench in self.functions or file in self.files or gone


def missing_entries(
    settings: Settings,
    collected: Collected,
    measured: Container[gate.Key],
    failed: Collection[str],
) -> tuple[list[gate.Finding], list[str]]:
    """Findings on stored entries that should have been measured and were not.

    What failed has its reason already.

    Args:
        failed: names of benches.

    Returns:
        The findings, and a line for each variant that this machine can't run: it is excused.
    """
    if settings.baseline is None or settings.update_baseline:
        return [], []
    known = variants.all_variants()
    findings, excuses = [], {}
    for key, entry in settings.baseline.entries.items():
        if key in measured or entry.name in failed or not collected.lacks(entry):
            continue
        if settings.left_out and key.variant not in settings.variants:
            continue
        obstacle = known[key.variant].obstacle() if key.variant in known else None
        if obstacle and not obstacle.fixable:
            excuses[key.variant] = obstacle.reason
            continue
        context = f"{entry.file} has it, and it was not measured"
        if key.variant not in known:
            context = (
                f"{entry.file} has it, and there is no variant {key.variant} any more: restore it, "
                "or drop its entries with --qmodels-update-baseline"
            )
        elif obstacle:
            context += f": {obstacle.reason}"
        findings += [
            gate.Finding(key, entry.name, metric, "missing", metric, context)
            for metric in entry.metrics
            if settings.tolerances.of(metric, entry) is not None
        ]
    return findings, [f"excused: {name} can't run here: {why}" for name, why in excuses.items()]


def removed_variants(settings: Settings) -> list[str]:
    """A line for each variant that the base has and this code no longer has.

    A removal is accepted where the stored runs of the base have the variant, and those of this code
    have not. So it is where this machine class has a whole run without the variant.
    """
    if settings.base is None or settings.left_out:
        return []
    gone = set(settings.base.hello.variants) - set(variants.all_variants())
    before = stored_by_base(settings) if gone else None
    now = settings.baseline
    if now is not None:
        if machine.machine_class() not in now.partial_for:
            return []
        gone -= {entry.variant for entry in (before or {}).values()}
    return [
        f"{name}: the base has this variant, and this code has not: restore it, or accept that "
        "with a run of all benches and --qmodels-update-baseline"
        for name in sorted(gone)
    ]
