"""Show a run, or the stored run of this machine class or of the nearest."""

import argparse
import os
import sys
from pathlib import Path

from qmodels import gate, report
from qmodels.cli import runs
from qmodels.gate import Baseline, Finding, Run

EXAMPLE = "qmodels report run.json > report.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    runs.add_run(parser)
    parser.add_argument("--baseline", type=Path, help="default: the stored run that fits")
    parser.add_argument(
        "--markdown", action="store_true", help="all tables, as where the output is no terminal"
    )
    parser.add_argument(
        "--study", action="store_true", help="print the study's numbers beside the run's instead"
    )
    parser.add_argument(
        "--svg",
        type=Path,
        metavar="FILE.svg",
        help="draw accuracy against latency instead, with the size as an area",
    )
    parser.add_argument(
        "--help-columns", action="store_true", help="explain the columns of the tables instead"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the tables and the verdicts: those of the run, or new ones against ``--baseline``.

    Exit status: 1 if a metric regressed, 3 if one is missing or undecided, else 0.
    """
    if arguments.help_columns:
        print(report.explain_columns())
        return 0
    run, stored = runs.read_run_or_stored(arguments.run)
    if arguments.svg:
        report.picture.draw(run, arguments.svg)
        print(f"wrote {arguments.svg}")
        return 0
    if arguments.study:
        print(report.study_report(run, describe_training(run)))
        return 0
    if stored and not arguments.baseline:
        print_tables(arguments, run, None, (), f"stored in {stored}")
        return 0
    if arguments.baseline:
        run = run.alone()
    baseline = runs.baseline_for(run, arguments.baseline)
    findings = run.findings
    if findings is None:
        findings = report.findings(run, baseline, runs.tolerances())
    findings += run.gone
    print_tables(arguments, run, baseline, findings, compared_with(run, baseline))
    return report.status(findings, run.failures)


def compared_with(run: Run, baseline: Baseline | None) -> str:
    """What a run was compared with, for people."""
    if any(entry.base is not None for entry in run.entries.values()):
        return "compared with the base that ran beside it"
    if baseline is None:
        return "no baseline stored"
    return f"compared with {baseline.path.parent.name}/{baseline.path.name}"


def print_tables(
    arguments: argparse.Namespace,
    run: Run,
    baseline: Baseline | None,
    findings: tuple[Finding, ...],
    compared: str,
) -> None:
    """Print a run: the overview and the verdicts, and as Markdown the other tables too."""
    markdown = arguments.markdown or not sys.stdout.isatty()
    if run.entries:
        network, machine_class, torch = runs.describe(run)
        print(f"{'## ' if markdown else 'qmodels: '}{network}\n")
        print(f"{machine_class}, {torch},\n{compared}.\n")
        if markdown:
            print(report.overview_markdown(run, findings, run.failures))
        else:
            color = "NO_COLOR" not in os.environ
            print(report.overview_text(run, findings, run.failures, color=color))
            print("\nThe columns: `qmodels report --help-columns`. All tables: --markdown.")
    if run.failures:
        print(f"\n{report.failure_table(run.failures)}")
    if findings or run.failures:
        print(f"\ngate: {report.count_findings(findings, run.failures)}")
    for line in gate.lines(finding for finding in findings if finding.verdict != "ok"):
        print(f"- {line}")
    if markdown and run.entries:
        print(f"\n### All metrics{', changes in parentheses' if findings else ''}\n")
        print(report.summary_table(report.summarize(run, baseline.entries if baseline else {})))
        print(f"\n{report.speed_table(run)}".rstrip())


def describe_training(run: Run) -> str | None:
    """How the network of a run was trained; None if its checkpoint is not known here."""
    from qmodels.training import checkpoints  # torch takes seconds, and the tables need none

    digests = {entry.conditions["checkpoint"] for entry in run.entries.values()}
    for checkpoint in checkpoints.known():
        if checkpoint.digest in digests and not checkpoint.quantization_aware:
            recipe = checkpoint.recipe
            return (
                f"recipe {recipe.name}, {recipe.epochs} epochs, batches of {recipe.batch_size}, "
                f"learning rate {recipe.peak_rate} at its peak, {recipe.schedule} schedule"
            )
    return None
