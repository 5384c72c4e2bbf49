"""How much faster each variant is: than eager fp32, than the best float32, than the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qmodels.report.table import aligned


@dataclass(frozen=True)
class Speed:
    """One variant at one batch size.

    Attributes:
        milliseconds: the median of all forwards.
        over_fp32: how many times faster than eager fp32, in turn.
        over_best: than the fastest float32 of the run.
        ceiling: share of the machine's convolution throughput in the variant's arithmetic.
    """

    milliseconds: float
    over_fp32: float
    over_best: float
    ceiling: float | None


def speeds(run: Mapping[str, Any]) -> dict[int, dict[str, Speed]]:
    """By batch size and variant, what a run (pytest-benchmark's JSON) tells of latency."""
    facts: dict[int, dict[str, dict[str, Any]]] = {}
    for benchmark in run["benchmarks"]:
        about = benchmark["extra_info"]
        if "latency_ms" in about["metrics"]:
            facts.setdefault(about["batch_size"], {})[about["variant"]] = about
    return {size: relative(some) for size, some in sorted(facts.items())}


def relative(some: Mapping[str, Mapping[str, Any]]) -> dict[str, Speed]:
    """Variants of one batch size, each held against the others."""

    def value(about: Mapping[str, Any], metric: str) -> float | None:
        record = about["metrics"].get(metric)
        return None if record is None else float(record["value"])

    # fp32 has no ratio: it is what the others are held against.
    ratios = {name: value(about, "latency_ratio") or 1.0 for name, about in some.items()}
    floats = [ratios[name] for name, about in some.items() if about.get("arithmetic") == "float32"]
    best = min(floats, default=1.0)
    return {
        name: Speed(
            milliseconds=value(about, "latency_ms") or 0.0,
            over_fp32=1 / ratios[name],
            over_best=best / ratios[name],
            ceiling=value(about, "ceiling_share"),
        )
        for name, about in some.items()
    }


def speed_table(run: Mapping[str, Any]) -> str:
    """The table of a run as aligned Markdown; empty where no latency was measured."""
    found = speeds(run)
    names = dict.fromkeys(name for some in found.values() for name in some)
    if not names:
        return ""
    rows: list[Sequence[str]] = [["Model"]]
    for size in found:
        of = f"{size} image" + ("s" if size > 1 else "")
        rows[0] = [*rows[0], f"{of} (ms)", "x faster than fp32", "than best float32", "Ceiling (%)"]
    for name in names:
        row = [name]
        for some in found.values():
            row += cells(some[name]) if name in some else ["-"] * 4
        rows.append(row)
    return aligned(rows)


def cells(speed: Speed) -> list[str]:
    """One variant at one batch size, as text."""
    ceiling = "-" if speed.ceiling is None else f"{100 * speed.ceiling:.0f}"
    return [
        f"{speed.milliseconds:.2f}",
        f"{speed.over_fp32:.2f}",
        f"{speed.over_best:.2f}",
        ceiling,
    ]
