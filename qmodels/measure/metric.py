"""One number with a unit and a direction; the table of all of them."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from qmodels.system.errors import UserError

Better = Literal["lower", "higher"]

# Name to unit and direction. What of these is gated, and how, stands in gate/tolerances.toml.
METRICS: dict[str, tuple[str, Better]] = {
    "top1": ("%", "higher"),
    "top5_error": ("%", "lower"),
    "top1_drop": ("points", "lower"),
    "score": ("", "higher"),
    "score_drop": ("%", "lower"),
    "size_bytes": ("bytes", "lower"),
    "latency_ms": ("ms", "lower"),
    "latency_ratio": ("x fp32", "lower"),
    "probe_ratio": ("x probe", "lower"),
    "latency_change": ("x base", "lower"),
    "ceiling_share": ("x ceiling", "higher"),
    "images_per_second": ("images/s", "higher"),
    "gpu_ratio": ("x cuda-fp16", "lower"),
    "peak_share": ("x peak", "higher"),
    "gpu_peak_bytes": ("bytes", "lower"),
    "int8_mac_fraction": ("of MACs", "higher"),
    "sqnr_db": ("dB", "higher"),
    "top1_agreement": ("%", "higher"),
    "runtime_sqnr_db": ("dB", "higher"),
    "allocated_bytes": ("bytes", "lower"),
    "peak_bytes": ("bytes", "lower"),
    "operator_calls": ("calls", "lower"),
    "memory_bytes": ("bytes", "lower"),
    "rss_bytes": ("bytes", "lower"),
}


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

    def as_record(self) -> dict[str, Any]:
        """As in a run record."""
        record = asdict(self)
        for name in ("samples", "confirmation", "ci_level"):
            if not record[name]:
                del record[name]
        return record

    @staticmethod
    def from_record(record: dict[str, Any]) -> "Metric":
        """Read what ``as_record`` wrote.

        Raises:
            UserError: it is malformed, or a number of it is NaN or infinite.
        """
        try:
            ci = record.get("ci")
            tolerance = record.get("tolerance")
            ci_level = record.get("ci_level")
            metric = Metric(
                value=number(record["value"]),
                unit=str(record["unit"]),
                better=record["better"],
                tolerance=None if tolerance is None else float(tolerance),
                ci=None if ci is None else (float(ci[0]), float(ci[1])),
                samples=tuple(float(sample) for sample in record.get("samples", ())),
                confirmation=tuple(float(sample) for sample in record.get("confirmation", ())),
                ci_level=None if ci_level is None else float(ci_level),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise UserError(f"no metric: {record!r}") from None
        if metric.better not in ("lower", "higher"):
            raise UserError(f"no metric: better is {metric.better!r}")
        if not all(map(math.isfinite, (metric.value, *metric.samples, *metric.confirmation))):
            raise UserError(f"no metric: {record!r} holds a number that is none")
        of_processes = (*metric.samples, *metric.confirmation)
        if of_processes:
            low, high = min(of_processes) - 0.001, max(of_processes) + 0.001  # digits are rounded
            if metric.value <= 0 or not low <= math.log(metric.value) <= high:
                raise UserError(f"no metric: {metric.value} is not what its samples say")
        return metric


def number(value: Any) -> float:
    """A number of a record; a whole one stays an int, so that it is written with all its digits."""
    return value if type(value) is int else float(value)


def make_metric(
    name: str,
    value: float,
    ci: tuple[float, float] | None = None,
    *,
    ci_level: float | None = None,
    samples: tuple[float, ...] = (),
    confirmation: tuple[float, ...] = (),
) -> Metric:
    """A metric of the table, with what was measured."""
    unit, better = METRICS[name]
    return Metric(value, unit, better, None, ci, samples, confirmation, ci_level)
