"""Show a run, or the stored run of this machine class or of the nearest."""

import argparse
import os
import sys
from pathlib import Path

from qmodels import gate, report
from qmodels.cli import runs
from qmodels.gate import Baseline, Finding, Run
from qmodels.system import defaults
from qmodels.system.errors import UserError

EXAMPLE = "qmodels report run.json > report.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "runs",
        nargs="*",
        default=[defaults.network_name()],
        metavar="RUN.json|NETWORK",
        help="written by --benchmark-json, or networks with a stored run; several with --html "
        "(default: %(default)s)",
    )
    parser.add_argument("--baseline", type=Path, help="default: the stored run that fits")
    parser.add_argument(
        "--markdown", action="store_true", help="all tables, as where the output is no terminal"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--study", action="store_true", help="print the study's numbers beside the run's instead"
    )
    instead.add_argument(
        "--html",
        type=Path,
        metavar="FILE.html",
        help="write a page with charts and details of the first run, beside the others",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=defaults.MAX_DROP,
        metavar="POINTS",
        help="of top-1, or percent of a score, that may be lost (default: %(default)s)",
    )
    instead.add_argument(
        "--svg",
        type=Path,
        metavar="FILE.svg",
        help="draw the page's picture of accuracy against latency instead",
    )
    instead.add_argument(
        "--help-columns", action="store_true", help="explain the columns of the tables instead"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the tables and the verdicts: those of the run, or new ones against ``--baseline``.

    Exit status: 1 if a metric regressed, 3 if one is missing or undecided, else 0. Pages, pictures
    and the study's numbers give no verdict: 0.
    """
    if arguments.help_columns:
        print(report.explain_columns())
        return 0
    (run, stored), *others = map(runs.read_run_or_stored, arguments.runs)
    if others and not arguments.html:
        raise UserError(f"{1 + len(others)} runs: name one, or write a page with --html FILE.html")
    if arguments.svg:
        from qmodels.report import page  # with the packages of its extra

        page.draw(run, arguments.svg)
        print(f"wrote {arguments.svg}")
        return 0
    if arguments.study:
        print(report.study_report(run, _describe_training(run)))
        return 0
    run, baseline, findings = _judge(run, arguments.baseline, stored)
    compared = f"stored in {stored}" if findings is None else _compared_with(run, baseline)
    if arguments.html:
        from qmodels.report import page

        size = page.write_page(
            arguments.html,
            [run, *(other for other, _ in others)],
            findings or (),
            baseline.entries if baseline else {},
            about=[*(runs.describe(run)[1:] if run.entries else ()), compared],
            max_drop=arguments.max_drop,
        )
        print(f"wrote {arguments.html}, {size / 1e6:.1f} MB")
        return 0
    _print_tables(arguments, run, baseline, findings or (), compared)
    return 0 if findings is None else gate.exit_status(findings, run.failures)


def _judge(
    run: Run, named: Path | None, stored: str | None
) -> tuple[Run, Baseline | None, tuple[Finding, ...] | None]:
    """The run, what it was compared with, and the verdicts: its own, or new ones.

    Args:
        named: the baseline to compare it with instead of the one that fits.
        stored: the file of a stored run, which is compared with nothing else and has no verdicts.
    """
    if stored and not named:
        return run, None, None
    run = run.alone() if named else run
    baseline = runs.baseline_for(run, named)
    if run.findings is None:
        return run, baseline, gate.compare_run(run, baseline, runs.tolerances())
    return run, baseline, run.findings + run.gone


def _compared_with(run: Run, baseline: Baseline | None) -> str:
    if any(entry.base is not None for entry in run.entries.values()):
        return "compared with the base that ran beside it"
    if baseline is None:
        return "no baseline stored"
    return f"compared with {baseline.path.parent.name}/{baseline.path.name}"


def _print_tables(
    arguments: argparse.Namespace,
    run: Run,
    baseline: Baseline | None,
    findings: tuple[Finding, ...],
    compared: str,
) -> None:
    markdown = arguments.markdown or not sys.stdout.isatty()
    shown = report.escape if markdown else str
    if run.entries:
        network, machine_class, torch = map(shown, runs.describe(run))
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
        print(f"- {shown(line)}")
    if markdown and run.entries:
        print(f"\n### All metrics{', changes in parentheses' if findings else ''}\n")
        print(report.summary_table(run, baseline.entries if baseline else {}))
        print(f"\n{report.speed_table(run)}".rstrip())


def _describe_training(run: Run) -> str | None:
    from qmodels.training import checkpoints, networks  # torch takes seconds; tables need none

    source = dict(next(iter(run.entries.values())).source) if run.entries else {}
    for checkpoint in checkpoints.known():
        call = networks.call(checkpoint)
        if not checkpoint.quantization_aware and source == call.as_record():
            recipe = checkpoint.recipe
            return (
                f"recipe {recipe.name}, {recipe.epochs} epochs, batches of {recipe.batch_size}, "
                f"learning rate {recipe.peak_rate} at its peak, {recipe.schedule} schedule"
            )
    return None
