"""Hold what was measured against the baseline, metric by metric."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qmodels.gate import intervals, ranks, sequential
from qmodels.gate.baseline import CONDITIONS, DECISIVE, Baseline, Entry
from qmodels.gate.sequential import Samples
from qmodels.gate.tolerances import Tolerances
from qmodels.metric import Metric

Verdict = Literal["ok", "regressed", "improved", "missing"]

ACCEPT = "accept it with --qmodels-update-baseline"
VERDICTS: Mapping[sequential.Answer, Verdict] = {
    "slower": "regressed",
    "faster": "improved",
    "same": "ok",
    "doubtful": "ok",
}


@dataclass(frozen=True)
class Finding:
    """One metric of one benchmark held against the baseline; ``line`` says all of it."""

    benchmark: str
    metric: str
    verdict: Verdict
    line: str


def compare(
    benchmark: str, now: Entry, baseline: Baseline | None, tolerances: Tolerances
) -> list[Finding]:
    """Hold every gated metric of one benchmark against the baseline."""

    def missing(metric: str, reason: str) -> Finding:
        line = f"{metric} of {short(benchmark)} is not in the baseline: {reason}; {ACCEPT}"
        return Finding(benchmark, metric, "missing", line)

    found = [
        in_turn(benchmark, name, metric, limit)
        for name, metric in now.metrics.items()
        if name == "latency_change" and (limit := tolerances.of(name, now.variant)) is not None
    ]
    # What ran beside its base needs no stored run.
    beside = {"latency_change", "latency_ratio", "probe_ratio"} if found else set()
    gated = [
        name
        for name in now.metrics
        if name not in beside and tolerances.of(name, now.variant) is not None
    ]
    if baseline is None:
        return found + [
            missing(name, f"no run is stored for {now_described(now)}") for name in gated
        ]
    before = baseline.entries.get(benchmark)
    if before is None:
        return found + [
            missing(name, f"{baseline.shown} has no entry {benchmark}") for name in gated
        ]
    reason = unlike(now, before)
    if reason:
        return found + [missing(name, f"{baseline.shown} has it for {reason}") for name in gated]
    for name in gated:
        if name not in before.metrics:
            found.append(missing(name, f"{baseline.shown} has the entry without it"))
        else:
            found.append(judge(benchmark, name, now, before, baseline, tolerances))
    for name in before.metrics:
        limit = tolerances.of(name, now.variant)
        if name not in now.metrics and name not in beside and limit is not None:
            line = f"{name} of {short(benchmark)} is in {baseline.shown} and was not measured"
            found.append(Finding(benchmark, name, "missing", line))
    return found


def unlike(now: Entry, before: Entry) -> str | None:
    """Why two entries can't be compared: the first condition or version that differs."""
    for condition in CONDITIONS:
        then, here = before.conditions[condition], now.conditions[condition]
        if then != here:
            return f"{condition} {then}, and this run has {here}"
    for package in DECISIVE:
        then, here = version(before, package), version(now, package)
        if then != here:
            return f"{package} {then}, and this run has {here}: it is stale"
    if now.ranks and before.ranks and now.ranks.images != before.ranks.images:
        return "other test images"
    return None


def version(one: Entry, package: str) -> str:
    """The version that decides: of Python the first two numbers."""
    full = str(one.made.versions.get(package))
    return ".".join(full.split(".")[:2]) if package == "python" else full


def judge(
    benchmark: str,
    name: str,
    now: Entry,
    before: Entry,
    baseline: Baseline,
    tolerances: Tolerances,
) -> Finding:
    """Hold one metric against the stored one."""
    same_host = now.made.host == before.made.host
    tolerance = tolerances.of(name, now.variant, same_host=same_host)
    assert tolerance is not None
    metric, stored = now.metrics[name], before.metrics[name]
    verdict: Verdict
    if name in ranks.WRONG_FROM and now.ranks and before.ranks:
        flips = ranks.flips(now.ranks, before.ranks, name)
        verdict = by_images(flips, tolerance, tolerances.level(name, now.variant))
        rule = (
            f"{flips.lost} images lost and {flips.won} won of {flips.images}, "
            f"which chance does with {flips.error:.2g}"
        )
    elif metric.samples and stored.samples:
        verdict = by_samples(metric, stored, tolerance)
        rule = (
            f"tolerance {100 * tolerance:.3g} %, {'this' if same_host else 'another'} host's run, "
            f"{len(metric.samples) + len(metric.confirmation)} processes"
        )
    else:
        slack = stored.slack(tolerance)
        verdict = by_value(metric, stored, slack)
        rule = f"tolerance {readable(slack, 'points' if metric.unit == '%' else metric.unit)}"
    line = (
        f"{name} of {short(benchmark)} {verdict}: {readable(metric.value, metric.unit)} now, "
        f"{readable(stored.value, metric.unit)} in the baseline, {rule} "
        f"({baseline.shown}){advice(verdict)}"
    )
    return Finding(benchmark, name, verdict, line)


def advice(verdict: Verdict) -> str:
    """What to do about a verdict."""
    if verdict == "regressed":
        return f"; if that is intended, {ACCEPT}"
    if verdict == "improved":
        return f"; bank it with {ACCEPT.split()[-1]}"
    return ""


def by_value(now: Metric, before: Metric, slack: float) -> Verdict:
    """Worse than tolerated, better by as much, or neither."""
    worse = now.value - before.value if now.better == "lower" else before.value - now.value
    if worse > slack:
        return "regressed"
    return "improved" if worse < -slack else "ok"


def by_images(flips: ranks.Flips, tolerance: float, level: float) -> Verdict:
    """A loss as large as tolerated or larger, and that flips both ways do not explain."""
    if flips.points >= tolerance and flips.error <= level:
        return "regressed"
    won = ranks.Flips(flips.images, flips.won, flips.lost)
    return "improved" if won.points >= tolerance and won.error <= level else "ok"


def by_samples(now: Metric, before: Metric, tolerance: float) -> Verdict:
    """A ratio whose every process is a sample, against those of the stored run."""
    answer = sequential.conclude(
        Samples(now.samples, now.confirmation),
        lambda samples, level: intervals.of_shift(samples, before.samples, level),
        math.log1p(tolerance),
    )
    return VERDICTS[answer]


def in_turn(benchmark: str, name: str, metric: Metric, tolerance: float) -> Finding:
    """A change of latency against a base that ran beside this code."""
    answer = sequential.conclude(
        Samples(metric.samples, metric.confirmation), intervals.of_changes, math.log1p(tolerance)
    )
    verdict = VERDICTS[answer]
    pairs = len(metric.samples) + len(metric.confirmation)
    line = (
        f"{name} of {short(benchmark)} {verdict}: {readable(metric.value, metric.unit)}, "
        f"tolerance {100 * tolerance:.3g} %, {pairs} pairs of processes in turn"
    )
    return Finding(benchmark, name, verdict, line)


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
    if unit.startswith(("x ", "of ")):
        return f"{value:.3f} {unit}"
    return f"{value:.2f} {unit}"
