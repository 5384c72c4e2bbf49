"""One number with a unit, a direction and a tolerance; the table of those that are gated."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from qmodels.errors import UserError

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Metric:
    """A measured number.

    Attributes:
        value: in ``unit``.
        better: which direction is an improvement.
        tolerance: how much worse than the baseline passes. In percentage points where the unit is
            a percentage or points, else a fraction of the baseline. None is never gated.
        ci: 95 % confidence interval, where the value is an estimate.
    """

    value: float
    unit: str
    better: Better
    tolerance: float | None
    ci: tuple[float, float] | None = None

    @property
    def absolute(self) -> bool:
        """Whether the tolerance is in the metric's own unit rather than a fraction."""
        return self.unit in ("%", "points")

    def allowed(self) -> float:
        """The worst value that passes when this metric is the baseline."""
        if self.tolerance is None:
            raise ValueError("a metric without a tolerance is not gated")
        slack = self.tolerance if self.absolute else abs(self.value) * self.tolerance
        return self.value + slack if self.better == "lower" else self.value - slack

    def as_record(self) -> dict[str, Any]:
        """As in a run record."""
        return asdict(self)

    @staticmethod
    def from_record(record: dict[str, Any]) -> "Metric":
        """Read what ``as_record`` wrote.

        Raises:
            UserError: it is not that.
        """
        try:
            ci = record["ci"]
            metric = Metric(
                value=float(record["value"]),
                unit=str(record["unit"]),
                better=record["better"],
                tolerance=None if record["tolerance"] is None else float(record["tolerance"]),
                ci=None if ci is None else (float(ci[0]), float(ci[1])),
            )
        except (KeyError, TypeError, ValueError, IndexError):
            raise UserError(f"no metric: {record!r}") from None
        if metric.better not in ("lower", "higher"):
            raise UserError(f"no metric: better is {metric.better!r}")
        return metric


# Name to unit, direction and tolerance: the one place where tolerances are set.
#
# Accuracy is deterministic for a machine class and versions; the tolerance lets one image in a
# thousand flip where another processor of the class adds in another order. Sizes move by some
# bytes with the names in an archive. A process's resident memory counts shared libraries, which
# come in whole pages. Ratios of latencies of unchanged code were seen 9 % apart.
METRICS: dict[str, tuple[str, Better, float | None]] = {
    "top1": ("%", "higher", 0.1),
    "top5_error": ("%", "lower", 0.1),
    "top1_drop": ("points", "lower", None),
    "size_bytes": ("bytes", "lower", 0.001),
    "latency_ms": ("ms", "lower", None),
    "latency_ratio": ("x", "lower", 0.15),
    "allocated_bytes": ("bytes", "lower", 0.001),
    "peak_bytes": ("bytes", "lower", 0.001),
    "operator_calls": ("calls", "lower", 0.0),
    "rss_bytes": ("bytes", "lower", 0.1),
}


def measured(
    name: str,
    value: float,
    ci: tuple[float, float] | None = None,
    *,
    least_tolerance: float = 0.0,
) -> Metric:
    """A metric of the table, with what was measured.

    Args:
        least_tolerance: raises the table's tolerance, as where one image is more than it allows.
    """
    unit, better, tolerance = METRICS[name]
    if tolerance is not None:
        tolerance = max(tolerance, least_tolerance)
    return Metric(value, unit, better, tolerance, ci)
