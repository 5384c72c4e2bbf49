"""Show a metric of the stored runs over commits, and which commit changed it."""

import argparse
import json
from dataclasses import asdict, replace

from qmodels import gate
from qmodels.cli import runs
from qmodels.gate.history import History, read_history
from qmodels.measure.metrics import METRICS
from qmodels.report.history import history_text
from qmodels.system import defaults, machine
from qmodels.system.errors import UserError

EXAMPLE = "qmodels history size_bytes --variant static-int8,onnx-int8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("metric", help="as `qmodels baseline show` names them")
    parser.add_argument(
        "network",
        nargs="?",
        default=defaults.network_name(),
        help="with a stored run (default: %(default)s)",
    )
    parser.add_argument(
        "--variant", metavar="A,B,...", help="list every commit's value of these variants"
    )
    parser.add_argument("--machine-class", help="default: this machine's, or the nearest")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print a row for each variant, and the changes beyond tolerance."""
    metric = arguments.metric
    if metric not in METRICS:
        raise UserError(f"unknown metric {metric!r}: choose from {', '.join(METRICS)}")
    folder = runs.baselines()
    machine_class = arguments.machine_class or machine.machine_class()
    path = gate.baseline_path(folder, machine_class, arguments.network)
    if not path.exists():
        if arguments.machine_class:
            stored = sorted(file.parent.name for file in folder.glob(f"*/{path.name}"))
            raise UserError(
                f"no run of {arguments.network} is stored for {machine_class}: "
                f"choose from {', '.join(stored) or 'other networks'}"
            )
        path = runs.stored_baseline(arguments.network).path
    history = _choose(read_history(path, metric), arguments.variant)
    if arguments.json:
        print(json.dumps([asdict(series) for series in history.series]))
        return
    print(f"{arguments.network} on {path.parent.name}")
    print(
        history_text(history, metric, runs.tolerances(), every_commit=arguments.variant is not None)
    )


def _choose(history: History, names: str | None) -> History:
    if names is None:
        return history
    known = list(dict.fromkeys(series.variant for series in history.series))
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in known:
            raise UserError(f"no stored run has variant {name!r}: choose from {', '.join(known)}")
    if not chosen:
        raise UserError(f"--variant names none: choose from {', '.join(known)}")
    series = (series for series in history.series if series.variant in chosen)
    return replace(history, series=tuple(series))
