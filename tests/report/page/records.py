"""Run records that a page is made of."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qmodels import data
from qmodels.gate import Run
from qmodels.gate.ranks import Ranks, collect
from qmodels.gate.record import decode
from qmodels.measure.metric import Metric
from qmodels.measure.metrics import METRICS
from qmodels.system import codec
from tests.entries import PROVENANCE

HOSTILE = "<script>alert(1)</script> [x](https://evil.example) @everyone"
LOST, WON = 5, 3
SOURCE = {
    "function": "qmodels.training.networks:usual",
    "dataset": "digits",
    "architecture": "resnet34",
    "width": 8,
}


def digits_ranks(lost: int = 0, won: int = 0) -> Ranks:
    """Ranks of the digits' test images: 20 wrong ones without ``won``, and ``lost`` others."""
    test = data.load("digits").test
    ranks = np.zeros(len(test), np.int64)
    ranks[won:20] = 1
    ranks[20 : 20 + lost] = 3
    return collect(test.labels.numpy(), np.arange(len(test)), ranks)


def benchmark(
    variant: str, bench: str, metrics: dict[str, Any], *, batch_size: int = 1, **extra: Any
) -> dict[str, Any]:
    case = f"-b{batch_size}" if bench == "bench_latency" else ""
    name = f"{bench}[{variant}{case}]"
    extra_info = {
        "network": "digits-resnet34-w8",
        "bench": bench,
        "variant": variant,
        "batch_size": batch_size,
        "engine": "x86",
        "threads": 2,
        "arithmetic": "float32" if variant == "fp32" else "int8",
        "machine_class": "linux-x86_64-avx2",
        "weights": "0" * 16,
        "source": SOURCE,
        "provenance": codec.encode(PROVENANCE),
        "images": 596,
        "metrics": {key: codec.encode(metric) for key, metric in metrics.items()},
        **extra,
    }
    seconds = [0.001 * (1 + step / 100) for step in range(50)]
    stats = {"data": seconds} if case else {}
    return {"fullname": name, "name": name, "extra_info": extra_info, "stats": stats}


def variant(
    name: str, ratio: float, drop: float, *, lost: int = 0, won: int = 0, **extra: Any
) -> list[dict[str, Any]]:
    """The benchmarks of a variant with all that a record may hold."""
    latency = {"latency_ms": METRICS["latency_ms"].of(10.5 * ratio)}
    if name != "fp32":
        samples = tuple(float(np.log(ratio * step)) for step in (0.98, 0.99, 1.01, 1.02))
        ci = 0.98 * ratio, 1.02 * ratio
        latency["latency_ratio"] = METRICS["latency_ratio"].of(
            ratio, ci, ci_level=0.875, samples=samples
        )
    accuracy = {
        "top1": METRICS["top1"].of(97.25 - drop),
        "top1_drop": METRICS["top1_drop"].of(drop, (drop - 0.2, drop + 0.2), ci_level=0.95),
    }
    ranks = codec.encode(digits_ranks(lost, won))
    profile = [{"name": "aten::empty", "cpu_bytes": 4096, "self_cpu_bytes": 2048, "calls": 7}]
    size = {"size_bytes": METRICS["size_bytes"].of(round(4_000_123 * ratio))}
    layers = [["stem.conv", 41.25, 87.5], ["head.fc", 25.75, 32.5]]
    memory = {"memory_bytes": METRICS["memory_bytes"].of(round(8_000_456 * ratio))}
    kernels = {"int8_mac_fraction": METRICS["int8_mac_fraction"].of(0.0 if name == "fp32" else 1)}
    return [
        benchmark(name, "bench_accuracy", accuracy, batch_size=250, ranks=ranks, **extra),
        benchmark(name, "bench_latency", latency, base_seconds=[0.001, 0.0012] * 20, **extra),
        benchmark(name, "bench_size", size, files={"model.pt": 1_423_164}, **extra),
        benchmark(name, "bench_memory", memory, profile=profile, **extra),
        benchmark(
            name,
            "bench_kernels",
            kernels,
            kernels={"quantized::conv2d": 36},
            layers=layers,
            **extra,
        ),
    ]


def record(*, hostile: bool = False, **extra: Any) -> dict[str, Any]:
    """As pytest-benchmark writes it."""
    variants = [
        variant("fp32", 1.0, 0.0, **extra),
        variant("static-int8-jit", 0.25, 0.1, lost=LOST, won=WON, **extra),
        variant("onnx-int8", 0.125, 0.05, lost=2, **extra),
    ]
    if hostile:
        variants.append(variant(HOSTILE, 0.5, 0.0, **extra))
    return {"benchmarks": [benchmark for benchmarks in variants for benchmark in benchmarks]}


def run(*, hostile: bool = False, **extra: Any) -> Run:
    return decode(record(hostile=hostile, **extra), Path("run.json"))


def times(factor: float, measured: Run) -> Run:
    """The same run with each value and each interval so many times as large."""
    entries = [
        replace(entry, metrics={name: scaled(factor, m) for name, m in entry.metrics.items()})
        for entry in measured.entries.values()
    ]
    return replace(Run.from_entries(entries), failures=measured.failures)


def scaled(factor: float, metric: Metric) -> Metric:
    return replace(
        metric,
        value=factor * metric.value,
        ci=metric.ci and (factor * metric.ci[0], factor * metric.ci[1]),
        samples=tuple(sample + math.log(factor) for sample in metric.samples),
    )
