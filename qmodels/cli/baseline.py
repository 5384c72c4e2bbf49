"""Show a baseline, what a run would change in it, and accept that."""

import argparse
from pathlib import Path

from qmodels import gate, report, variants
from qmodels.cli import common, runs
from qmodels.system import machine

EXAMPLE = "qmodels baseline diff run.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own commands."""
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        return subparsers.add_parser(
            name, help=summary, description=summary, epilog=f"example: qmodels baseline {example}"
        )

    sub = add("show", "Show who made a baseline, and a line for each metric.", "show")
    sub.set_defaults(step=_show)
    common.add_network(sub)
    sub.add_argument("file", type=Path, nargs="?", help="default: the one that benches use")

    sub = add("diff", "Show what a run would change in the baseline.", "diff run.json")
    sub.set_defaults(step=_diff)
    _add_run(sub)

    sub = add("accept", "Store what a run changes in the baseline.", "accept run.json")
    sub.set_defaults(step=_accept)
    _add_run(sub)
    sub.add_argument("--all", action="store_true", help="accept what is within tolerance too")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN.json", help="written by --benchmark-json")
    parser.add_argument("--baseline", type=Path, help="default: the stored run that fits")


def run(arguments: argparse.Namespace) -> int | None:
    """Show, diff or accept."""
    status: int | None = arguments.step(arguments)
    return status


def _show(arguments: argparse.Namespace) -> None:
    """Print a baseline: the named one, or else that of this machine class or of the nearest."""
    baseline = None
    path = arguments.file
    if path is None:
        here = machine.machine_class()
        name = common.network_name(arguments)
        path = gate.baseline_path(runs.baselines(), here, name)
        baseline = gate.find_baseline(runs.baselines(), [here], name)
    baseline = baseline or runs.read_baseline(path)
    print(report.describe_baseline(baseline, runs.tolerances(variants.all_variants())))


def _diff(arguments: argparse.Namespace) -> int:
    """Print what is not within tolerance.

    Exit status: 1 if a metric regressed or a bench failed, 3 if a metric is missing or undecided,
    else 0.
    """
    run = runs.read_run(arguments.run)
    baseline = runs.baseline_for(run, arguments.baseline)
    findings = gate.compare_run(run, baseline, runs.tolerances(variants.all_variants()))
    for line in gate.lines(finding for finding in findings if finding.verdict != "ok"):
        print(line)
    for failure in run.failures:
        print(f"{failure.name} failed: {failure.reason}")
    print(report.count_findings(findings, run.failures))
    return gate.exit_status(findings, run.failures)


def _accept(arguments: argparse.Namespace) -> None:
    """Store the benchmarks with a metric that is not within tolerance, or all of them."""
    run = runs.read_run(arguments.run)
    tolerances = runs.tolerances(variants.all_variants())
    baseline = runs.baseline_for(run, arguments.baseline)
    chosen = set(run.entries) if arguments.all else gate.keys_to_accept(run, baseline, tolerances)
    for failure in run.failures:
        print(f"{failure.name} not stored: it failed, {failure.reason}")
    if not chosen:
        print("nothing to accept: every metric is within its tolerance")
        return
    folder = runs.baselines(to_write=True)
    for result in gate.accept(folder, run, file=arguments.baseline, only=chosen):
        for key in result.stored:
            print(f"accepted {run.entries[key].name}")
        for line in result.refused:
            print(line)
        print(f"{result.path}: {len(result.stored)} accepted, {result.kept} kept")
