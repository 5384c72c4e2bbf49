"""Hold what was measured against the baseline, metric by metric.

The baseline is a stored run, of this host, of another host of the machine class, or of the nearest
class; or a base's run on this machine. How much may change depends on which: see ``tolerances``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qmodels import obstacles
from qmodels.gate import intervals, ranks, sequential
from qmodels.gate.baseline import CONDITIONS, Baseline, Entry, Key
from qmodels.gate.classes import MACHINE_CODE, kernel_library
from qmodels.gate.sequential import Samples
from qmodels.gate.tolerances import Origin, Tolerances
from qmodels.metric import Metric

Verdict = Literal["ok", "regressed", "improved", "undecided", "new", "missing"]
VERDICTS: tuple[Verdict, ...] = ("ok", "regressed", "improved", "undecided", "new", "missing")

ACCEPT = "accept it with --qmodels-update-baseline"
PINNED = f"install the pinned versions with `{obstacles.install('all')}`"
OF_ANSWERS: Mapping[sequential.Answer, Verdict] = {
    "slower": "regressed",
    "faster": "improved",
    "same": "ok",
    "doubtful": "undecided",
}
LATENCIES = ("latency_change", "latency_ratio", "probe_ratio")
# How many there are depends on the kernels that are called.
OF_KERNELS = ("allocated_bytes", "peak_bytes", "operator_calls")
# By how much the head's stored run has moved a metric for the worse, in the metric's unit.
Changes = Mapping[tuple[Key, str], float]


@dataclass(frozen=True)
class Finding:
    """One metric of one benchmark held against the baseline; ``line`` says all of it."""

    key: Key
    metric: str
    verdict: Verdict
    line: str

    @staticmethod
    def from_record(record: Sequence[Any]) -> "Finding":
        """From what ``dataclasses.astuple`` made, after JSON."""
        key, metric, verdict, line = record
        return Finding(Key(*key), metric, verdict, line)


def compare(
    now: Entry,
    baseline: Baseline | None,
    tolerances: Tolerances,
    accepted: Changes | None = None,
) -> list[Finding]:
    """Hold every gated metric of one benchmark against the baseline.

    Args:
        accepted: changes that may be as large, of a run beside a base.
    """
    gated = [name for name in now.metrics if gates(tolerances, name, now)]
    found: list[Finding] = []
    if "latency_change" in gated:  # what ran beside its base needs no stored run
        found = [in_turn(now, "latency_change", tolerances)]
        gated = [name for name in gated if name not in LATENCIES]

    def without_baseline(verdict: Verdict, reason: str) -> list[Finding]:
        lines = {name: f"{name} of {now.name} {verdict}: {reason}" for name in gated}
        return found + [Finding(now.key, name, verdict, line) for name, line in lines.items()]

    if baseline is None:
        return without_baseline("missing", f"no run is stored for {now.network}; {ACCEPT}")
    before = baseline.entries.get(now.key)
    if before is None:
        if baseline.beside or not of_class(baseline, now):
            return without_baseline("new", f"{baseline.shown} does not have {now.name}")
        return without_baseline("missing", f"{baseline.shown} has no {now.name}; {ACCEPT}")
    reason = unlike(now, before, beside=baseline.beside)
    if reason:
        return without_baseline("missing", f"{baseline.shown} has it for {reason}, or {ACCEPT}")
    for name in gated:
        tolerance = limit(tolerances, name, now, before)
        if name not in before.metrics:
            line = f"{name} of {now.name} new: {baseline.shown} has the entry without it"
            found.append(Finding(now.key, name, "new", line))
        elif tolerance is not None:
            more = (accepted or {}).get((now.key, name), 0.0)
            found.append(judge(name, now, before, tolerance, tolerances, more))
    for name in before.metrics:
        in_turn_instead = name in LATENCIES and "latency_change" in now.metrics
        ungated = limit(tolerances, name, now, before) is None
        if name in now.metrics or in_turn_instead or ungated:
            continue
        line = f"{name} of {now.name} missing: it is in {baseline.shown} and was not measured"
        found.append(Finding(now.key, name, "missing", line))
    return found


def gates(tolerances: Tolerances, metric: str, now: Entry) -> bool:
    """Whether a metric of an entry is gated where the baseline is of its class."""
    return tolerances.of(metric, now.variant, now.arithmetic) is not None


def limit(tolerances: Tolerances, metric: str, now: Entry, before: Entry) -> float | None:
    """The tolerance of a metric against a stored one; None where the two can't be compared.

    Of two classes that depends on the metric. Another Python takes other memory for the same code.
    """
    if metric == "memory_bytes" and python(now) != python(before):
        return None
    origin = origin_of(now, before)
    engine = now.conditions["engine"]
    if origin == "another class":
        if metric == "size_bytes" and engine in MACHINE_CODE:
            return None
        libraries = {kernel_library(engine, one.machine_class) for one in (now, before)}
        if metric in OF_KERNELS and len(libraries) > 1:
            return None
    return tolerances.of(metric, now.variant, now.arithmetic, origin)


def origin_of(now: Entry, before: Entry) -> Origin:
    """Where a stored entry was made. Another Python moves times as another host does."""
    if now.machine_class != before.machine_class:
        return "another class"
    same = now.made.host == before.made.host and python(now) == python(before)
    return "this host" if same else "another host"


def of_class(baseline: Baseline, now: Entry) -> bool:
    """Whether a baseline is of an entry's own machine class."""
    return any(one.machine_class == now.machine_class for one in baseline.entries.values())


def unlike(now: Entry, before: Entry, *, beside: bool = False) -> str | None:
    """Why two entries can't be compared, with the remedy; None where they can.

    Args:
        beside: the one before is a base's, whose packages may be other ones.
    """
    for condition in CONDITIONS:
        then, here = before.conditions[condition], now.conditions[condition]
        if condition == "runtime":
            then, here = public_versions(then), public_versions(here)
            if then != here and not beside:
                return f"{then}, and this run has {here}: {PINNED}"
        elif then != here:
            return f"{condition} {then}, and this run has {here}: leave that as it was"
    then, here = (public_versions(one.made.versions.get("torch")) for one in (before, now))
    if then != here and not beside:
        return f"torch {then}, and this run has {here}, so it is stale: {PINNED}"
    if now.ranks and before.ranks and now.ranks.images != before.ranks.images:
        return "other test images: restore the data set"
    return None


def public_versions(versions: str | None) -> str:
    """Versions without their local labels: ``2.15.0+cpu`` is a build of 2.15.0."""
    return re.sub(r"\+[\w.]+", "", str(versions))


def python(one: Entry) -> str:
    """The first two numbers of Python's version."""
    return ".".join(str(one.made.versions.get("python")).split(".")[:2])


def judge(
    name: str,
    now: Entry,
    before: Entry,
    tolerance: float,
    tolerances: Tolerances,
    accepted: float,
) -> Finding:
    """Hold one metric against the stored one.

    Args:
        accepted: how much further it may move, in its unit.
    """
    metric, stored = now.metrics[name], before.metrics[name]
    unit = "points" if metric.unit == "%" else metric.unit
    verdict: Verdict
    if name in ranks.WRONG_FROM and now.ranks and before.ranks:
        flips = ranks.flips(now.ranks, before.ranks, name)
        level = tolerances.level(name, now.variant, now.arithmetic)
        verdict = by_images(flips, tolerance + accepted, level)
        rule = (
            f"tolerance {readable(tolerance, unit)}, {flips.lost} images lost and {flips.won} won "
            f"of {flips.images}, which chance does with {flips.error:.2g}"
        )
    elif metric.samples and stored.samples:
        verdict = by_samples(metric, stored, tolerance)
        rule = (
            f"tolerance {100 * tolerance:.3g} %, "
            f"{len(metric.samples) + len(metric.confirmation)} processes"
        )
    else:
        slack = stored.slack(tolerance)
        verdict = by_value(metric, stored, slack + accepted)
        rule = f"tolerance {readable(slack, unit)}"
    if accepted:
        rule += f", {readable(accepted, unit)} more accepted in baselines/"
    line = (
        f"{name} of {now.name} {verdict}: {readable(metric.value, metric.unit)} now, "
        f"{readable(stored.value, metric.unit)} in the baseline, {rule} "
        f"({before.file or 'the base'}, {origin_of(now, before)}){advice(verdict)}"
    )
    return Finding(now.key, name, verdict, line)


def changes(head: Baseline | None, base: Baseline | None, tolerances: Tolerances) -> Changes:
    """What the head's stored run has accepted: metrics that it moved by more than is tolerated.

    Args:
        head, base: stored runs of one machine class, as each has it.
    """
    found = {}
    for key, now in (head.entries if head else {}).items():
        before = base.entries.get(key) if base else None
        for name, metric in now.metrics.items() if before else ():
            old = before.metrics.get(name) if before else None
            tolerance = tolerances.of(name, now.variant, now.arithmetic)
            if old is None or tolerance is None or name in LATENCIES:
                continue
            loss = worse_by(metric, old)
            if loss > old.slack(tolerance):
                found[key, name] = loss
    return found


def advice(verdict: Verdict) -> str:
    """What to do about a verdict."""
    if verdict == "regressed":
        return f"; if that is intended, {ACCEPT}"
    if verdict == "improved":
        return f"; bank it with {ACCEPT.split()[-1]}"
    if verdict == "undecided":
        return "; run it again where less else runs"
    return ""


def by_value(now: Metric, before: Metric, slack: float) -> Verdict:
    """Worse than tolerated, better by as much, or neither."""
    worse = worse_by(now, before)
    if worse > slack:
        return "regressed"
    return "improved" if worse < -slack else "ok"


def worse_by(now: Metric, before: Metric) -> float:
    """How much worse a metric is than before, in its unit."""
    return now.value - before.value if now.better == "lower" else before.value - now.value


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
    return OF_ANSWERS[answer]


def in_turn(now: Entry, name: str, tolerances: Tolerances) -> Finding:
    """A change of latency against a base that ran beside this code."""
    metric = now.metrics[name]
    tolerance = tolerances.of(name, now.variant, now.arithmetic)
    assert tolerance is not None
    answer = sequential.conclude(
        Samples(metric.samples, metric.confirmation), intervals.of_changes, math.log1p(tolerance)
    )
    verdict = OF_ANSWERS[answer]
    pairs = len(metric.samples) + len(metric.confirmation)
    line = (
        f"{name} of {now.name} {verdict}: {readable(metric.value, metric.unit)}, "
        f"tolerance {100 * tolerance:.3g} %, {pairs} pairs of processes in turn{advice(verdict)}"
    )
    return Finding(now.key, name, verdict, line)


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
