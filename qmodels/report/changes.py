"""Baselines, and what a run would change in them, for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from qmodels.gate import Baseline, Finding, Tolerances, compare, entry
from qmodels.gate.verdict import readable, short


def stored(baseline: Baseline, tolerances: Tolerances) -> str:
    """A baseline as text: who made it, and a line for each metric."""
    lines = [f"{baseline.shown}"]
    makers = {one.made.date: one.made for one in baseline.entries.values()}
    for date, made in sorted(makers.items()):
        versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
        count = sum(one.made == made for one in baseline.entries.values())
        lines.append(f"made {date} at {made.commit}, host {made.host}: {count} entries; {versions}")
    for name, one in baseline.entries.items():
        for metric, value in one.metrics.items():
            tolerance = tolerances.of(metric, one.variant)
            gated = "shown only" if tolerance is None else f"tolerance {tolerance:g}"
            processes = f", {len(value.samples)} processes" if value.samples else ""
            lines.append(
                f"{short(name):<36}{metric:<17}{readable(value.value, value.unit):>16}  "
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
        for finding in compare(one["fullname"], entry(one["extra_info"]), baseline, tolerances)
    ]


def counted(found: Sequence[Finding]) -> str:
    """How many findings there are of each kind, in a line."""
    return ", ".join(
        f"{sum(one.verdict == verdict for one in found)} {verdict}"
        for verdict in ("ok", "regressed", "improved", "missing")
    )
