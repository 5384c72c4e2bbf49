"""Entries of the size bench, and what they are compared with."""

import math
from pathlib import Path

import numpy as np

from qmodels import gate
from qmodels.gate import Baseline, Entry, Finding, Key, Tolerances
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import METRICS
from tests import entries

CLASS, OTHER = "linux-x86_64-avx512_bf16", "linux-x86_64-avx512"


KEY = Key("digits-resnet34-w8", "bench_size", "fp32", 1)


TOLERANCES = Tolerances.decode(
    {
        "top1": {
            "tolerance": 0.1,
            "other_class": 0.1,
            "level": 0.01,
            "arithmetic": {"int8": {"other_class": 0.5}},
        },
        "top5_error": {"tolerance": 0.1, "level": 0.01},
        "score": {"tolerance": 0.001, "level": 0.01},
        "size_bytes": {"tolerance": 0.1, "other_class": 0.1},
        "operator_calls": {"tolerance": 0, "other_class": 0},
        "memory_bytes": {"tolerance": 0.1},
        "sqnr_db": {"tolerance": 1.0, "other_class": 4.0},
        "runtime_sqnr_db": {"tolerance": 3.0, "other_class": 4.0},
        "latency_ratio": {"tolerance": 0.1, "other_host": 0.3},
        "latency_change": {"tolerance": 0.015},
    }
)


def entry(**metrics: Metric) -> Entry:
    return entries.entry(
        KEY.bench,
        KEY.variant,
        machine_class=CLASS,
        metrics=metrics,
        file="baselines/file.json",
    )


def holding(before: Entry, *, from_base: bool = False) -> Baseline:
    return Baseline(Path("baselines/file.json"), {KEY: before}, from_base)


def stored(**metrics: Metric) -> Baseline:
    return holding(entry(**metrics))


def size(value: float) -> Metric:
    return METRICS["size_bytes"].of(value)


def compare(now: Entry, baseline: Baseline | None) -> list[gate.Finding]:
    return gate.compare(now, baseline, TOLERANCES)


def ratio(at: float, spread: float = 0.01, count: int = 12, confirmation: int = 0) -> Metric:
    samples = math.log(at) + spread * np.linspace(-1, 1, count)
    return METRICS["latency_ratio"].of(
        at,
        samples=tuple(samples),
        confirmation=tuple(samples[:confirmation]),
    )


def line(finding: Finding) -> str:
    """What people read of a finding."""
    (line,) = gate.lines([finding])
    return line
