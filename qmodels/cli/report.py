"""Print a run as Markdown, with its changes against a baseline."""

import argparse
from pathlib import Path

from qmodels import gate, report
from qmodels.cli import common
from qmodels.gate import Run
from qmodels.training import checkpoints

EXAMPLE = "qmodels report run.json > report.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    common.add_run(parser)
    parser.add_argument(
        "--study", action="store_true", help="print the study's numbers beside the run's instead"
    )
    parser.add_argument(
        "--svg",
        type=Path,
        metavar="FILE.svg",
        help="draw accuracy against latency instead, with the size as an area",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the tables and the verdicts: those of the run, or new ones against ``--baseline``.

    Exit status: 1 if a metric regressed, 3 if one is missing or undecided, else 0.
    """
    run = common.read_run(arguments)
    if arguments.svg:
        report.picture.draw(run, arguments.svg)
        print(f"wrote {arguments.svg}")
        return 0
    if arguments.study:
        print(report.study_report(run, describe_training(run)))
        return 0
    if arguments.baseline:
        run = run.alone()
    baseline = common.baseline_for(run, arguments.baseline)
    if baseline and baseline.path.resolve() == arguments.run.resolve():
        print_tables(run, None, "a stored run")
        return 0
    compared = "no baseline stored"
    if any(entry.base is not None for entry in run.entries.values()):
        compared = "change against the base that ran beside it in parentheses"
    elif baseline:
        name = f"{baseline.path.parent.name}/{baseline.path.name}"
        compared = f"change against `{name}` in parentheses"
    if run.entries:
        print_tables(run, baseline, compared)
    if run.failures:
        print(f"\n{report.failure_table(run.failures)}")
    findings = run.findings
    if findings is None:
        findings = report.findings(run, baseline, common.tolerances())
    findings += run.gone
    print(f"\ngate: {report.count_findings(findings, run.failures)}")
    for line in gate.lines(finding for finding in findings if finding.verdict != "ok"):
        print(f"- {line}")
    return report.status(findings, run.failures)


def print_tables(run: Run, baseline: gate.Baseline | None, compared: str) -> None:
    """Print the tables of a run, with changes against a baseline where there is one.

    Args:
        compared: what the run was compared with, for the line below the heading.
    """
    entry = next(iter(run.entries.values()))
    about, torch = entry.conditions, entry.provenance.versions["torch"]
    print(f"## {about['architecture']}, width {about['width']}, {about['dataset']}\n")
    print(f"{entry.machine_class}, torch {torch}, {compared}.\n")
    print(report.summary_table(report.summarize(run, baseline.entries if baseline else {})))
    speeds = report.speed_table(run)
    if speeds:
        print(f"\n{speeds}")


def describe_training(run: Run) -> str | None:
    """How the network of a run was trained; None if its checkpoint is not known here."""
    digests = {entry.conditions["checkpoint"] for entry in run.entries.values()}
    for checkpoint in checkpoints.known():
        if checkpoint.digest in digests and not checkpoint.quantization_aware:
            recipe = checkpoint.recipe
            return (
                f"recipe {recipe.name}, {recipe.epochs} epochs, batches of {recipe.batch_size}, "
                f"learning rate {recipe.peak_rate} at its peak, {recipe.schedule} schedule"
            )
    return None
