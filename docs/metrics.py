"""The table of metrics in ``docs/gate.md``: ``python -m docs.metrics`` prints it."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from qmodels.measure.metric import Definition
from qmodels.measure.metrics import METRICS
from qmodels.report.table import markdown

HEADINGS = ("Metric", "Tolerance", "Another host", "Another class", "What it is")


def rows(metric: Definition) -> list[list[str]]:
    """The tolerances of a metric, then of the variants that have others."""
    own = metric.tolerances
    shown = [[f"`{metric.name}`", *amounts(metric, own), metric.meaning]]
    others = [*own.get("arithmetic", {}).items(), *own.get("variants", {}).items()]
    for numbers, group in groupby(others, key=lambda other: other[1]):
        names = ", ".join(f"`{name}`" for name, _ in group)
        shown.append([f"of {names}", *amounts(metric, {**own, **numbers}), ""])
    return shown


def amounts(metric: Definition, numbers: Mapping[str, Any]) -> list[str]:
    """How much worse passes on this host, on another, and on another class; a dash is not gated."""
    here = numbers.get("tolerance")
    of_origin = (here, numbers.get("other_host", here), numbers.get("other_class"))
    return ["-" if number is None else amount(metric, number) for number in of_origin]


def amount(metric: Definition, tolerance: float) -> str:
    """A tolerance with its unit."""
    if metric.of(0.0).absolute:
        return f"{tolerance:g} {metric.of(0.0).unit_of_change}"
    return f"{100 * tolerance:g} %"


def main() -> None:
    """Print the table."""
    table = [row for metric in METRICS.values() for row in rows(metric)]
    print(markdown(HEADINGS, table, ["left", "right", "right", "right", "left"]))


if __name__ == "__main__":
    main()
