"""Run records of the size bench, and the baselines that they are stored in."""

from pathlib import Path
from typing import Any

from qmodels import gate
from qmodels.gate import Baseline, Key, Run
from qmodels.gate.record import decode
from qmodels.measure.metrics import METRICS
from qmodels.system import codec

PROVENANCE = {
    "date": "2026-01-01T00:00:00+00:00",
    "commit": "abc",
    "host": "h",
    "versions": {"torch": "2.15.0"},
}
STATS = {"min": 1.0, "median": 1.23456789, "data": [1.0] * 1000}
CLASS, NETWORK = "linux-x86_64-avx2", "digits-resnet34-w8"
FP32, INT8 = "fp32", "static-int8"


def benchmark(variant: str, value: float = 1.0, **extra: Any) -> dict[str, Any]:
    extra_info = {
        "network": NETWORK,
        "bench": "bench_size",
        "variant": variant,
        "batch_size": 1,
        "engine": "eager",
        "threads": 1,
        "arithmetic": "float32",
        "machine_class": CLASS,
        "weights": "weights",
        "source": {"function": "birds:network"},
        "provenance": PROVENANCE,
        "profile": [{"name": "aten::add", "cpu_bytes": 8, "self_cpu_bytes": 8, "calls": 1}] * 100,
        "metrics": codec.encode({"size_bytes": METRICS["size_bytes"].of(value)}),
        **extra,
    }
    return {
        "fullname": f"benches/bench_size.py::bench_size[{variant}]",
        "name": f"bench_size[{variant}]",
        "group": "size",
        "param": variant,
        "params": {"variant": variant},
        "extra_info": extra_info,
        "stats": STATS,
    }


def key(variant: str) -> Key:
    return Key(NETWORK, "bench_size", variant, 1)


def record(*benchmarks: dict[str, Any]) -> dict[str, Any]:
    """As pytest-benchmark writes it."""
    return {"machine_info": {"machine_class": CLASS}, "benchmarks": list(benchmarks)}


def run(*benchmarks: dict[str, Any]) -> Run:
    return decode(record(*benchmarks), Path("run.json"))


def stored(folder: Path) -> Path:
    return gate.baseline_path(folder, CLASS, NETWORK)


def read(folder: Path) -> Baseline:
    baseline = gate.read_baseline(stored(folder), CLASS)
    assert baseline is not None
    return baseline


def values(folder: Path) -> list[float]:
    return [entry.metrics["size_bytes"].value for entry in read(folder).entries.values()]
