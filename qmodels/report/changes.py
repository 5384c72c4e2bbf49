"""Baselines, and what a run would change in them, for people."""

from collections.abc import Sequence

from qmodels.gate import VERDICTS, Accepted, Baseline, Failure, Finding, Tolerances
from qmodels.report.table import escape, markdown
from qmodels.system.files import shown


def describe_baseline(baseline: Baseline, tolerances: Tolerances) -> str:
    """A baseline as text: who made it, and a line for each metric."""
    lines = [f"{baseline.shown}"]
    makers = {entry.provenance.date: entry.provenance for entry in baseline.entries.values()}
    for date, maker in sorted(makers.items()):
        versions = ", ".join(f"{name} {number}" for name, number in maker.versions.items())
        count = sum(entry.provenance == maker for entry in baseline.entries.values())
        lines.append(
            f"made {date} at {maker.commit}, host {maker.host}: {count} entries; {versions}"
        )
    for entry in baseline.entries.values():
        for metric, value in entry.metrics.items():
            tolerance = tolerances.of(metric, entry)
            gated = "shown only" if tolerance is None else f"tolerance {tolerance:g}"
            processes = f", {len(value.samples)} processes" if value.samples else ""
            lines.append(f"{entry.name:<36}{metric:<17}{value.text:>16}  {gated}{processes}")
    return "\n".join(lines)


def count_findings(findings: Sequence[Finding], failures: Sequence[Failure] = ()) -> str:
    """A line with the number of findings of each kind, and of failed benches."""
    counts = [
        f"{sum(finding.verdict == verdict for finding in findings)} {verdict}"
        for verdict in VERDICTS
    ]
    return ", ".join(counts + ([f"{len(failures)} failed"] if failures else []))


def failure_table(failures: Sequence[Failure]) -> str:
    """Benches that failed, and why, as Markdown."""
    return markdown(
        ["Failed bench", "Reason"],
        [[escape(failure.name), escape(failure.reason)] for failure in failures],
        align=["left", "left"],
    )


def describe_accepted(outcome: Accepted) -> list[str]:
    """Lines on the effect of storing a run on a file."""
    file = shown(outcome.path)
    partial = ""
    if outcome.kept:
        partial = f"; partial run: {outcome.kept} other entries kept as they were"
    if outcome.stored or outcome.dropped:
        lines = [f"baseline updated: {file}, {len(outcome.stored)} entries{partial}"]
    else:
        lines = [f"baseline not updated: {file} is as it was"]
    if outcome.dropped:
        names = ", ".join(outcome.dropped)
        lines.append(f"dropped, as there are no such variants: {names}")
    return [*lines, *outcome.refused]
