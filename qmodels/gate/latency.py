"""Latency of a case: the times of its processes, and the metrics that they give."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qmodels.gate.intervals import hodges_lehmann, sign_interval, signed_rank_interval
from qmodels.measure.metric import Definition, Metric
from qmodels.measure.metrics import LATENCY, LATENCY_CHANGE, LATENCY_RATIO, PROBE_RATIO

ALPHA = 0.025  # one-sided error of each bound of the intervals that are shown

Case = tuple[str, int]  # variant and batch size


@dataclass(frozen=True)
class Process:
    """Times of a case in one process.

    Attributes:
        log_ratios: by metric, the logarithm of the ratio of times in this process.
        base_seconds: of every timed forward of the base, where one took turns with it.
    """

    seconds: tuple[float, ...]
    log_ratios: Mapping[str, float]
    base_seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Timings:
    """All times of one case."""

    screened: tuple[Process, ...]
    confirmed: tuple[Process, ...] = ()

    @property
    def processes(self) -> tuple[Process, ...]:
        """All of them."""
        return (*self.screened, *self.confirmed)

    @property
    def seconds(self) -> tuple[float, ...]:
        """Seconds of every timed forward."""
        return tuple(time for process in self.processes for time in process.seconds)

    @property
    def base_seconds(self) -> tuple[float, ...]:
        """Seconds of every timed forward of the base, where there is one."""
        return tuple(time for process in self.processes for time in process.base_seconds)

    def metrics(self) -> dict[str, Metric]:
        """The metrics of the case."""
        metrics = {LATENCY.name: LATENCY.of(1e3 * float(np.median(self.seconds)))}
        for metric in (LATENCY_RATIO, PROBE_RATIO, LATENCY_CHANGE):
            screened, confirmed = self.samples(metric.name)
            if screened:
                metrics[metric.name] = _ratio(metric, screened, confirmed)
        return metrics

    def samples(self, metric: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Logarithms of a ratio: of the screened processes, and of the confirming ones."""
        screened, confirmed = (
            tuple(each.log_ratios[metric] for each in processes if metric in each.log_ratios)
            for processes in (self.screened, self.confirmed)
        )
        return screened, confirmed


def _ratio(metric: Definition, screened: tuple[float, ...], confirmed: tuple[float, ...]) -> Metric:
    samples = (*screened, *confirmed)
    if metric is LATENCY_CHANGE:  # both sides vary alike, so changes are symmetric
        center, interval = hodges_lehmann(samples), signed_rank_interval(samples, ALPHA)
    else:
        center, interval = float(np.median(samples)), sign_interval(samples, ALPHA)
    return metric.of(
        math.exp(center),
        (math.exp(interval.low), math.exp(interval.high)),
        ci_level=interval.level,
        samples=screened,
        confirmation=confirmed,
    )
