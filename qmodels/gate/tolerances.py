"""Tolerances: by how much each metric may be worse than its baseline.

The table of metrics has the defaults. A ``tolerances.toml`` beside the baselines of a repository
comes first, number by number.

Such a file is TOML, a table for each metric: ``tolerance``, which is in points where the unit is a
percentage, in decibels where it is those, and else a fraction of the baseline; ``other_host`` and
``other_class``, instead of it where the baseline was made on another host of the machine class, or
on another class; ``level``, the error that an exact test may make. Any of them may stand under
``arithmetic``, for variants that multiply in one, and under ``variants``, for a single one, which
comes first. What has no tolerance is shown and not gated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from qmodels.gate.entry import Entry
from qmodels.measure.metrics import METRICS
from qmodels.system import codec
from qmodels.system.codec import Malformed
from qmodels.system.converter import expect

TOLERANCES_FILE = "tolerances.toml"
Arithmetic = Literal["float32", "float16", "bfloat16", "int8"]
# Where a baseline was made: on this host, on another one of this class, or on another class.
Origin = Literal["this host", "another host", "another class"]
Number = Literal["tolerance", "other_host", "other_class", "level"]


@dataclass(frozen=True)
class Table:
    """The numbers of a metric; see the module's docstring."""

    closed = True

    tolerance: float | None = None
    other_host: float | None = None
    other_class: float | None = None
    level: float | None = None

    def check(self) -> None:
        """Refuse a negative number."""
        for name in ("tolerance", "other_host", "other_class", "level"):
            value = getattr(self, name)
            expect(value is None or value >= 0, f"{name} from 0 up, not {value}")


@dataclass(frozen=True)
class MetricTable(Table):
    """The numbers of a metric, and those of arithmetics and variants, which come first."""

    arithmetic: Mapping[Arithmetic, Table] = field(default_factory=dict)
    variants: Mapping[str, Table] = field(default_factory=dict)


@dataclass(frozen=True)
class Tolerances:
    """The defaults, and what a file says."""

    tables: Mapping[str, MetricTable]

    @staticmethod
    def decode(tables: Mapping[str, Any]) -> "Tolerances":
        """Tolerances from tables as TOML has them.

        Raises:
            Malformed: a number or a key means nothing.
        """
        return Tolerances(codec.decode(dict[str, MetricTable], tables))

    def of(self, metric: str, entry: Entry, origin: Origin = "this host") -> float | None:
        """The tolerance of a metric of an entry; None where it is not gated.

        A metric that qmodels does not know, of a bench of a user's, brings its own, which holds
        within a machine class.
        """
        if metric not in METRICS:
            own = entry.metrics.get(metric)
            return own.tolerance if own and origin != "another class" else None
        return self.tolerance(metric, entry.variant, entry.arithmetic, origin)

    def tolerance(
        self, metric: str, variant: str, arithmetic: str, origin: Origin = "this host"
    ) -> float | None:
        """The tolerance of a known metric of a variant; None where it is not gated."""
        if origin == "another class":
            return self.find(metric, variant, arithmetic, "other_class")
        if origin == "another host":
            other = self.find(metric, variant, arithmetic, "other_host")
            if other is not None:
                return other
        return self.find(metric, variant, arithmetic, "tolerance")

    def level(self, metric: str, variant: str, arithmetic: str) -> float:
        """The significance level of the exact test of a metric."""
        level = self.find(metric, variant, arithmetic, "level")
        assert level is not None, f"{metric} needs a level"
        return level

    def find(self, metric: str, variant: str, arithmetic: str, number: Number) -> float | None:
        """A number of the tables, the variant's own before its arithmetic's before the metric's."""
        table = self.tables.get(metric, MetricTable())
        own = table.variants.get(variant), table.arithmetic.get(cast(Arithmetic, arithmetic))
        numbers = (getattr(each, number) for each in (*own, table) if each is not None)
        return next((value for value in numbers if value is not None), None)


def read_tolerances(folder: Path, variants: Iterable[str] | None = None) -> Tolerances:
    """The tolerances of a folder of baselines, and the defaults where it has none.

    Args:
        variants: the names that its file may use; None where any will do.

    Raises:
        UserError: the file is damaged, or names what there is not.
    """
    defaults = {name: metric.tolerances for name, metric in METRICS.items()}
    path = folder / TOLERANCES_FILE
    if not path.exists():
        return Tolerances.decode(defaults)
    with codec.damage_as_error(path, "fix it, or restore it from git"):
        own = codec.parse_toml(path.read_bytes())
        check_names(Tolerances.decode(own), None if variants is None else set(variants))
        return Tolerances.decode(_merge(defaults, own))


def _merge(first: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Tables with the numbers of the second where it has them, else with those of the first."""
    merged = {**first, **own}
    for name in first.keys() & own.keys():
        if isinstance(first[name], dict):
            merged[name] = _merge(first[name], own[name])
    return merged


def check_names(tolerances: Tolerances, known: set[str] | None) -> None:
    """Refuse tables of metrics and variants that there are not."""
    for metric, table in tolerances.tables.items():
        if metric not in METRICS:
            raise Malformed(metric, f"it is no metric: choose from {', '.join(METRICS)}")
        for name in table.variants:
            if known is not None and name not in known:
                path = codec.join(f"{metric}.variants", name)
                raise Malformed(path, f"it is no variant: choose from {', '.join(sorted(known))}")
