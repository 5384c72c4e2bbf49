"""Definitions of metrics, and measured values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from qmodels.system.converter import expect

Better = Literal["lower", "higher"]
# What a value may depend on, besides the code and the machine class.
Dependence = Literal[
    "files",  # the machine code in an artifact's files
    "kernels",  # the library whose kernels are called
    "bits",  # whether products of int8 overflow, so that weights lose one of their eight bits
    "python",  # its version
    "processor",  # its model
    "batch",  # how many images a forward takes
]


@dataclass(frozen=True)
class Metric:
    """A measured number.

    Attributes:
        value: in ``unit``.
        better: which direction is an improvement.
        tolerance: how much worse than the baseline passes. In percentage points where the unit is
            a percentage or points, in decibels where it is those, else a fraction of the baseline.
            None is not gated.
        ci: confidence interval, where the value is an estimate.
        ci_level: the confidence that the interval reached; None where it is not known.
        samples: of a ratio, its logarithm in each process that it was first measured in.
        confirmation: in those that were to confirm what the first ones found.
    """

    value: float
    unit: str
    better: Better
    tolerance: float | None = None
    ci: tuple[float, float] | None = None
    samples: tuple[float, ...] = ()
    confirmation: tuple[float, ...] = ()
    ci_level: float | None = None

    @property
    def absolute(self) -> bool:
        """Whether the tolerance is in the metric's own unit rather than a fraction."""
        return self.unit in ("%", "points", "dB")

    def slack(self, tolerance: float) -> float:
        """A tolerance in the metric's unit, where this metric is the baseline."""
        return tolerance if self.absolute else abs(self.value) * tolerance

    @property
    def unit_of_change(self) -> str:
        """The unit of a difference between two values."""
        return "points" if self.unit == "%" else self.unit

    def change_from(self, before: float) -> str:
        """The change since an earlier value: in the unit if tolerances are, else in percent."""
        change, unit = self.value - before, self.unit_of_change
        if not self.absolute and before:
            change, unit = 100 * change / abs(before), "%"
        rounded = f"{change:+.2f}"  # stored values have six digits, which is no change
        return f"{rounded} {unit}" if float(rounded) else "="

    @property
    def text(self) -> str:
        """The value with its unit, rounded."""
        return readable(self.value, self.unit)

    def check(self) -> None:
        """Refuse a decoded metric that is not what its samples say."""
        of_processes = (*self.samples, *self.confirmation)
        if of_processes:
            low, high = min(of_processes) - 0.001, max(of_processes) + 0.001  # digits are rounded
            agrees = self.value > 0 and low <= math.log(self.value) <= high
            expect(agrees, f"a value between those of its samples, not {self.value}")


@dataclass(frozen=True)
class Definition:
    """The definition of a metric.

    Attributes:
        meaning: the quantity, in a few words.
        label: heading of its column; empty if it is in no table.
        divisor: the column shows the value divided by it.
        digits: number of digits after the decimal point in the column.
        depends_on: what the value depends on, besides the code and the machine class.
        tolerances: the defaults of ``tolerances.toml``, by its keys; empty if it is not gated.
    """

    name: str
    unit: str
    better: Better
    meaning: str
    label: str = ""
    divisor: float = 1.0
    digits: int = 2
    depends_on: tuple[Dependence, ...] = ()
    tolerances: Mapping[str, Any] = field(default_factory=dict)

    def of(
        self,
        value: float,
        ci: tuple[float, float] | None = None,
        *,
        ci_level: float | None = None,
        samples: tuple[float, ...] = (),
        confirmation: tuple[float, ...] = (),
    ) -> Metric:
        """This metric with a measured value, in its unit."""
        return Metric(value, self.unit, self.better, None, ci, samples, confirmation, ci_level)


def readable(value: float, unit: str) -> str:
    """A value with its unit, rounded."""
    if unit == "bytes":
        if abs(value) >= 1e6:
            return f"{value / 1e6:.3f} MB"
        return f"{value / 1e3:.1f} kB"
    if not unit:
        return f"{value:.4g}"
    if unit == "calls":
        return f"{value:.0f} call{'s'[: value != 1]}"
    if unit.startswith(("x ", "of ")):
        return f"{value:.3f} {unit}"
    return f"{value:.2f} {unit}"
