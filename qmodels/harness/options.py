"""Command-line options: what to measure, and how it is judged. Importing this takes no time."""

import os

import pytest

from qmodels.system import defaults


def add_options(parser: pytest.Parser) -> None:
    """Register the options."""
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false", "no", "off")
    group = parser.getgroup("qmodels", "qmodels: what quantizing a network costs and buys")
    group.addoption(
        "--qmodels-network",
        metavar="MODULE:FUNCTION",
        help="measure the network that this function returns, not qmodels_networks",
    )
    parser.addini(
        "qmodels_networks", "functions that return networks to measure", type="args", default=[]
    )
    parser.addini("qmodels_baselines", "folder of stored runs", default="baselines")
    group.addoption(
        "--qmodels-dataset",
        metavar="|".join(defaults.WIDTHS),
        help=f"{defaults.DATASET} by default; both come with the package",
    )
    group.addoption(
        "--qmodels-architecture",
        metavar="|".join(defaults.ARCHITECTURES),
        help=f"{defaults.ARCHITECTURE} by default",
    )
    group.addoption(
        "--qmodels-width", type=int, help="channels of the stem: 8 for digits, 16 for CIFAR-100"
    )
    group.addoption(
        "--qmodels-checkpoint",
        metavar="NAME|FILE",
        help="these weights, as `qmodels doctor` names them, instead of the shipped ones",
    )
    group.addoption("--qmodels-variants", metavar="A,B,...", help="only these variants")
    group.addoption(
        "--qmodels-threads", type=int, default=1, help="for latency and memory; 1 by default"
    )
    group.addoption(
        "--qmodels-accuracy-images",
        metavar="N|all",
        help="so many test images, of all classes alike; by default all up to width 16, 2000 above",
    )
    group.addoption(
        "--qmodels-recompute",
        action="store_true",
        default=in_ci,
        help="take no logits from earlier runs; on where CI is set",
    )
    group.addoption(
        "--qmodels-base",
        metavar="REVISION|FOLDER",
        help="compare with this code, run in turn with it, instead of the stored run",
    )
    group.addoption(
        "--qmodels-base-python",
        metavar="PYTHON",
        help="run the base in this environment: the same code, unless --qmodels-base names another",
    )
    group.addoption(
        "--qmodels-max-drop",
        type=float,
        default=defaults.MAX_DROP,
        metavar="POINTS",
        help="of top-1, or percent of a score, that may be lost; %(default)s by default",
    )
    group.addoption(
        "--qmodels-times",
        action="store_true",
        help="print pytest-benchmark's tables too, as --benchmark-compare does",
    )
    group.addoption(
        "--qmodels-update-baseline",
        action="store_true",
        help="accept: store this run as the baseline of this machine class",
    )
    group.addoption(
        "--qmodels-require-baseline",
        action="store_true",
        default=in_ci,
        help="fail where the baseline has no entry or a bench did not run; on where CI is set",
    )
