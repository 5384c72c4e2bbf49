"""Baselines, and what a run would change in them, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from qmodels.gate import VERDICTS, Accepted, Baseline, Finding, Tolerances, compare, entry, shown
from qmodels.gate.verdict import readable


def stored(baseline: Baseline, tolerances: Tolerances) -> str:
    """A baseline as text: who made it, and a line for each metric."""
    lines = [f"{baseline.shown}"]
    makers = {one.made.date: one.made for one in baseline.entries.values()}
    for date, made in sorted(makers.items()):
        versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
        count = sum(one.made == made for one in baseline.entries.values())
        lines.append(f"made {date} at {made.commit}, host {made.host}: {count} entries; {versions}")
    for one in baseline.entries.values():
        for metric, value in one.metrics.items():
            tolerance = tolerances.of(metric, one.variant, one.arithmetic)
            gated = "shown only" if tolerance is None else f"tolerance {tolerance:g}"
            processes = f", {len(value.samples)} processes" if value.samples else ""
            lines.append(
                f"{one.name:<36}{metric:<17}{readable(value.value, value.unit):>16}  "
                f"{gated}{processes}"
            )
    return "\n".join(lines)


def findings(
    run: Mapping[str, Any], baseline: Baseline | None, tolerances: Tolerances
) -> list[Finding]:
    """Every gated metric of a stored run held against a baseline."""
    return [
        finding
        for one in run["benchmarks"]
        for finding in compare(entry(one), baseline, tolerances)
    ]


def counted(found: Sequence[Finding]) -> str:
    """How many findings there are of each kind, in a line."""
    return ", ".join(
        f"{sum(one.verdict == verdict for one in found)} {verdict}" for verdict in VERDICTS
    )


def status(found: Sequence[Finding]) -> int:
    """The exit status that findings mean: 1 regressed, 3 no answer, 0 else."""
    verdicts = {one.verdict for one in found}
    if "regressed" in verdicts:
        return 1
    return 0 if found and not verdicts & {"missing", "undecided"} else 3


def accepted(what: Accepted) -> list[str]:
    """What storing a run did to a file, in lines."""
    stored = shown(what.path)
    partial = f"; partial run: {what.kept} other entries kept as they were" if what.kept else ""
    if what.stored or what.dropped:
        lines = [f"baseline updated: {stored}, {len(what.stored)} entries{partial}"]
    else:
        lines = [f"baseline not updated: {stored} is as it was"]
    if what.dropped:
        lines.append(f"dropped, as there are no such variants: {', '.join(what.dropped)}")
    return [*lines, *what.refused]
