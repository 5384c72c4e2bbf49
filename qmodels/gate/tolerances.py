"""How much worse than its baseline each metric may get.

The table of metrics has the defaults. A ``tolerances.toml`` beside the baselines of a repository
comes first, number by number.

Such a file is TOML, a table for each metric: ``tolerance``, which is in points where the unit is a
percentage, in decibels where it is those, and else a fraction of the baseline; ``other_host`` and
``other_class``, instead of it where the baseline was made on another host of the machine class, or
on another class; ``level``, the error that an exact test may make. Any of them may stand under
``arithmetic``, for variants that multiply in one, and under ``variants``, for a single one, which
comes first. What has no tolerance is shown and not gated.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qmodels.gate.entry import Entry
from qmodels.measure.metrics import METRICS
from qmodels.system.errors import UserError

FILE = "tolerances.toml"
KEYS = ("tolerance", "other_host", "other_class", "level")
ARITHMETICS = ("float32", "float16", "bfloat16", "int8")
# Where a baseline was made: on this host, on another one of this class, or on another class.
Origin = Literal["this host", "another host", "another class"]


@dataclass(frozen=True)
class Tolerances:
    """The defaults, and what a file says."""

    tables: Mapping[str, Mapping[str, Any]]

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
        """How often an exact test of a metric may err."""
        level = self.find(metric, variant, arithmetic, "level")
        assert level is not None, f"{metric} needs a level"
        return level

    def find(self, metric: str, variant: str, arithmetic: str, key: str) -> float | None:
        """A number of the tables, the variant's own before its arithmetic's before the metric's."""
        table = self.tables.get(metric, {})
        for own in (
            table.get("variants", {}).get(variant, {}),
            table.get("arithmetic", {}).get(arithmetic, {}),
            table,
        ):
            if key in own:
                return float(own[key])
        return None


def read_tolerances(folder: Path, variants: Iterable[str] | None = None) -> Tolerances:
    """The tolerances of a folder of baselines, and the defaults where it has none.

    Args:
        variants: the names that its file may use; None where any will do.

    Raises:
        UserError: the file is damaged, or names what there is not.
    """
    defaults, own = {name: metric.tolerances for name, metric in METRICS.items()}, {}
    if (folder / FILE).exists():
        own = read(folder / FILE)
        check(folder / FILE, own, None if variants is None else set(variants))
    return Tolerances(merge(defaults, own))


def read(path: Path) -> dict[str, Any]:
    """The tables of a file, by metric."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}): restore it from git") from None
    except ValueError as error:  # TOML's own, or that of a byte that is no UTF-8
        raise UserError(f"{path} is no TOML ({error}): fix it, or restore it from git") from None


def merge(first: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Tables with the numbers of the second where it has them, else with those of the first."""
    merged = {**first, **own}
    for name in first.keys() & own.keys():
        if isinstance(first[name], dict):
            merged[name] = merge(first[name], own[name])
    return merged


def check(path: Path, tables: Mapping[str, Any], known: set[str] | None) -> None:
    """Refuse tables that name what there is not, or a number that means nothing."""
    for metric, table in tables.items():
        if metric not in METRICS:
            raise UserError(f"{path}: unknown metric {metric!r}: choose from {', '.join(METRICS)}")
        if not isinstance(table, dict):
            raise UserError(f"{path}: {metric} is {table!r}: write a table, [{metric}]")
        numbers = {k: v for k, v in table.items() if k not in ("variants", "arithmetic")}
        check_numbers(path, metric, numbers)
        for group, names in (("variants", known), ("arithmetic", set(ARITHMETICS))):
            for name, own in table.get(group, {}).items():
                if names is not None and name not in names:
                    raise UserError(
                        f"{path}: {metric}.{group} names an unknown {name!r}: "
                        f"choose from {', '.join(sorted(names))}"
                    )
                check_numbers(path, metric, own)


def check_numbers(path: Path, metric: str, table: Mapping[str, Any]) -> None:
    """Refuse a table with a key or a number that means nothing."""
    for key, value in table.items():
        if key not in KEYS:
            raise UserError(f"{path}: {metric} has an unknown key {key!r}: use {', '.join(KEYS)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < 0:
            raise UserError(f"{path}: {metric} has {key} {value!r}: give it a number from 0 up")
