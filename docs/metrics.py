"""The table of metrics in ``docs/gate.md``: ``python -m docs.metrics`` prints it."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from qmodels.measure.metric import Definition
from qmodels.measure.metrics import METRICS
from qmodels.report.table import markdown
from qmodels.variants import all_variants

HEADINGS = ("Metric", "Tolerance", "Another host", "Another class", "What it is")


def rows(metric: Definition) -> list[list[str]]:
    """The tolerances of a metric, then of the variants that have others."""
    own = metric.tolerances
    shown = [[f"`{metric.name}`", *amounts(metric, own), metric.meaning]]
    for table, kind, plural in (
        ("arithmetic", "arithmetic", "arithmetics"),
        ("variants", "variant", "variants"),
    ):
        for numbers, group in groupby(own.get(table, {}).items(), key=lambda other: other[1]):
            names = [name for name, _ in group]
            cells = amounts(metric, {**own, **numbers})
            # Machine code of another class is not compared.
            if "files" in metric.depends_on and not any(map(is_portable, names)):
                cells[-1] = "-"
            label = kind if len(names) == 1 else plural
            shown.append([f"{label} {', '.join(f'`{name}`' for name in names)}", *cells, ""])
    return shown


def is_portable(variant: str) -> bool:
    """Whether the files of a variant are the same on every machine class."""
    return all_variants()[variant].backend.portable


def amounts(metric: Definition, numbers: Mapping[str, Any]) -> list[str]:
    """How much worse passes here, on another host, and on another class; a dash if not compared."""
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
