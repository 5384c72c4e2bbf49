"""Hold a run against a stored one: baseline file, comparison, verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qmodels import store
from qmodels.errors import UserError
from qmodels.metric import Metric

Verdict = Literal["ok", "regressed", "improved", "missing"]

# Numbers taken under different ones of these are different quantities.
CONDITIONS = (
    "machine_class",
    "engine",
    "architecture",
    "width",
    "dataset",
    "images",
    "threads",
    "batch_size",
)
ACCEPT = "accept it with --qmodels-update-baseline"


@dataclass(frozen=True)
class Entry:
    """One benchmark of a run: the variant, the conditions it ran under, what was measured."""

    variant: str
    conditions: Mapping[str, Any]
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class Baseline:
    """A stored run, by benchmark (pytest's node id)."""

    path: Path
    entries: Mapping[str, Entry]

    @property
    def shown(self) -> Path:
        """The path as people type it: from here, where it is below."""
        here = Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path


@dataclass(frozen=True)
class Finding:
    """One metric of one benchmark held against the baseline; ``line`` says all of it."""

    benchmark: str
    metric: str
    verdict: Verdict
    line: str


def baseline_path(folder: Path, machine_class: str, dataset: str, model: str, width: int) -> Path:
    """Where the baseline of one machine class, data set, architecture and width is stored."""
    return folder / machine_class / f"{dataset}-{model}-w{width}.json"


def read_run(path: Path) -> dict[str, Any]:
    """A pytest-benchmark JSON file that this harness wrote.

    Raises:
        UserError: it can't be read, or is something else.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        for benchmark in run["benchmarks"]:
            benchmark["fullname"], benchmark["extra_info"]["metrics"].items()
    except FileNotFoundError:
        raise UserError(f"run {path} does not exist: name a file of --benchmark-json") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"run {path} is damaged, or not of pytest-benchmark with qmodels' metrics: restore it "
            "from git, or delete it and make it again with --qmodels-update-baseline"
        ) from None
    return dict(run)


def entry(extra_info: Mapping[str, Any]) -> Entry:
    """What the gate compares, from a benchmark's ``extra_info``.

    Raises:
        UserError: a metric is not one.
    """
    return Entry(
        variant=str(extra_info.get("variant")),
        conditions={name: extra_info.get(name) for name in CONDITIONS},
        metrics={
            name: Metric.from_record(record) for name, record in extra_info["metrics"].items()
        },
    )


def read_baseline(path: Path, machine_class: str) -> Baseline | None:
    """The baseline stored at a path, None where there is none.

    Raises:
        UserError: it is damaged, or was made on another machine class.
    """
    if not path.exists():
        return None
    run = read_run(path)
    made_on = run.get("machine_info", {}).get("machine_class")
    if made_on != machine_class:
        raise UserError(
            f"baseline {path} was made on {made_on}, and this is {machine_class}: "
            "int8 results differ between the two; move it where it belongs, and make one here "
            "with --qmodels-update-baseline"
        )
    try:
        entries = {one["fullname"]: entry(one["extra_info"]) for one in run["benchmarks"]}
    except UserError as error:
        raise UserError(f"baseline {path} is damaged ({error}): restore it from git") from None
    return Baseline(path, entries)


def compare(benchmark: str, now: Entry, baseline: Baseline | None) -> list[Finding]:
    """Hold every gated metric of one benchmark against the baseline."""

    def missing(metric: str, reason: str) -> Finding:
        line = f"{metric} of {short(benchmark)} is not in the baseline: {reason}; {ACCEPT}"
        return Finding(benchmark, metric, "missing", line)

    gated = [name for name, metric in now.metrics.items() if metric.tolerance is not None]
    if baseline is None:
        return [missing(name, f"no run is stored for {now_described(now)}") for name in gated]
    before = baseline.entries.get(benchmark)
    if before is None:
        return [missing(name, f"{baseline.shown} has no entry {benchmark}") for name in gated]
    for condition in CONDITIONS:
        then, here = before.conditions[condition], now.conditions[condition]
        if then != here:
            reason = f"{baseline.shown} has it for {condition} {then}, and this run has {here}"
            return [missing(name, reason) for name in gated]
    findings = []
    for name in gated:
        if name not in before.metrics or before.metrics[name].tolerance is None:
            findings.append(missing(name, f"{baseline.shown} has the entry without it"))
        else:
            findings.append(
                judge(benchmark, name, now.metrics[name], before.metrics[name], baseline)
            )
    for name, metric in before.metrics.items():
        if metric.tolerance is not None and name not in now.metrics:
            line = f"{name} of {short(benchmark)} is in {baseline.shown} and was not measured"
            findings.append(Finding(benchmark, name, "missing", line))
    return findings


def judge(benchmark: str, name: str, now: Metric, before: Metric, baseline: Baseline) -> Finding:
    """Compare one metric: worse than tolerated, better by as much, or neither.

    Where the value is an estimate, all of its interval has to be beyond the tolerance.
    """
    low, high = now.ci or (now.value, now.value)
    sign = 1.0 if now.better == "lower" else -1.0
    slack = abs(before.allowed() - before.value)
    least_worse = min(sign * (low - before.value), sign * (high - before.value))
    most_worse = max(sign * (low - before.value), sign * (high - before.value))
    verdict: Verdict = "ok"
    advice = ""
    if least_worse > slack:
        verdict, advice = "regressed", f"if that is intended, {ACCEPT}"
    elif most_worse < -slack:
        verdict, advice = "improved", f"bank it with {ACCEPT.split()[-1]}"
    tolerance = readable(slack, "points" if now.unit == "%" else now.unit)
    line = (
        f"{name} of {short(benchmark)} {verdict}: {readable(now.value, now.unit)} now, "
        f"{readable(before.value, now.unit)} in the baseline, tolerance {tolerance} "
        f"({baseline.shown}); {advice}"
    )
    return Finding(benchmark, name, verdict, line.removesuffix("; "))


def vanished(baseline: Baseline | None, ran: Sequence[str], excused: Sequence[str]) -> list[str]:
    """Benchmarks of the baseline that neither ran nor were left out on purpose."""
    if baseline is None:
        return []
    accounted = {*ran, *excused}
    return [name for name in baseline.entries if name not in accounted]


def write_baseline(path: Path, run: Mapping[str, Any]) -> int:
    """Store a run as the baseline, keeping entries that it does not have; returns how many it kept.

    Args:
        run: as pytest-benchmark makes it, without the raw data.

    Raises:
        UserError: the file can't be written, or what is there is damaged.
    """
    benchmarks = {one["fullname"]: one for one in run["benchmarks"]}
    kept = []
    if path.exists():
        kept = [one for one in read_run(path)["benchmarks"] if one["fullname"] not in benchmarks]
    everything = sorted((*benchmarks.values(), *kept), key=lambda one: str(one["fullname"]))
    record = {**run, "benchmarks": everything}
    store.write_text(path, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return len(kept)


def short(benchmark: str) -> str:
    """The part of a node id that tells people which benchmark it is."""
    return benchmark.rpartition("::")[2]


def now_described(now: Entry) -> str:
    """The conditions that name a baseline file."""
    of = now.conditions
    return f"{of['dataset']}, {of['architecture']}, width {of['width']} on {of['machine_class']}"


def readable(value: float, unit: str) -> str:
    """A value with its unit, as people read it."""
    if unit == "bytes":
        if abs(value) >= 1e6:
            return f"{value / 1e6:.3f} MB"
        return f"{value / 1e3:.1f} kB"
    if unit == "calls":
        return f"{value:.0f} calls"
    if unit == "x":
        return f"{value:.3f} x fp32"
    return f"{value:.2f} {unit}"
