"""Compare what was measured with the baseline, metric by metric.

The baseline is a stored run, of this host, of another host of the machine class, or of the nearest
class; or a base's run on this machine. How much may change depends on which: see ``tolerances``.
"""

from collections.abc import Mapping

from qmodels.gate import ranks, rules, scores, sequential
from qmodels.gate.baseline import Baseline
from qmodels.gate.changes import StoredChanges, worsening
from qmodels.gate.comparable import incompatibility, limit, origin_of
from qmodels.gate.entry import Entry
from qmodels.gate.finding import Finding, Verdict
from qmodels.gate.ranks import Flips, Ranks
from qmodels.gate.scores import Differences, Scores
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metric import Metric, readable
from qmodels.measure.metrics import LATENCY_CHANGE, SCORE, depends

ACCEPT = "accept it with --qmodels-update-baseline"
ACCEPT_LATENCY = "raise its tolerance in baselines/tolerances.toml"
VERDICT_BY_ANSWER: Mapping[sequential.Answer, Verdict] = {
    "slower": "regressed",
    "faster": "improved",
    "same": "ok",
    "inconclusive": "undecided",
}


def compare(
    now: Entry,
    baseline: Baseline | None,
    tolerances: Tolerances,
    accepted: StoredChanges | None = None,
) -> list[Finding]:
    """Compare every gated metric of one benchmark with the baseline.

    Args:
        accepted: the stored runs of this code and of a base, which show the accepted losses.
    """
    gated = [name for name in now.metrics if gates(tolerances, name, now)]
    findings: list[Finding] = []
    if LATENCY_CHANGE.name in gated:  # what ran in turn with its base needs no stored run
        findings = [in_turn(now, tolerances)]
        gated = [name for name in gated if not depends(name, "processor")]

    def without_baseline(verdict: Verdict, reason: str) -> list[Finding]:
        return findings + [
            Finding(now.key, now.name, name, verdict, name, reason) for name in gated
        ]

    if baseline is None:
        lacks = f"No run of {now.key.network} is stored for {now.machine_class}"
        return without_baseline("missing", f"{lacks}: {ACCEPT}")
    before = baseline.entries.get(now.key)
    if before is None:
        lacks = baseline.absence(now.name, now.variant)
        if baseline.from_base or now.machine_class in baseline.partial_for:
            return without_baseline("new", lacks)
        return without_baseline("missing", f"{lacks}: {ACCEPT}")
    reason = incompatibility(now, before, from_base=baseline.from_base)
    if reason:
        return without_baseline(
            "missing", f"{baseline.shown} was measured with {reason}, or {ACCEPT}"
        )
    for name in gated:
        tolerance = limit(tolerances, name, now, before)
        if name not in before.metrics:
            context = f"{baseline.shown} has {now.name} without it"
            findings.append(Finding(now.key, now.name, name, "new", name, context))
        elif tolerance is not None:
            more = accepted.loss(now, name, before.metrics[name], tolerance) if accepted else 0.0
            findings.append(judge(name, now, before, tolerance, tolerances, more))
    for name in before.metrics:
        in_turn_instead = depends(name, "processor") and LATENCY_CHANGE.name in now.metrics
        excused = name in now.unmeasured or limit(tolerances, name, now, before) is None
        if name in now.metrics or in_turn_instead or excused:
            continue
        context = f"{baseline.shown} has it, and this run did not measure it"
        findings.append(Finding(now.key, now.name, name, "missing", name, context))
    return findings


def gates(tolerances: Tolerances, metric: str, now: Entry) -> bool:
    """Whether a metric of an entry is gated against a baseline of its own class."""
    return tolerances.of(metric, now) is not None


def judge(
    name: str,
    now: Entry,
    before: Entry,
    tolerance: float,
    tolerances: Tolerances,
    accepted: float,
) -> Finding:
    """Compare one metric with the stored one.

    Args:
        accepted: how much further it may move, in its unit.
    """
    metric, stored = now.metrics[name], before.metrics[name]
    unit = metric.unit_of_change
    verdict: Verdict
    change = change_by_image(name, now, before)
    if change is not None:
        slack = stored.slack(tolerance)
        level = tolerances.level(name, now.variant, now.arithmetic)
        verdict = by_images(change, slack + accepted, level)
        rule = f"tolerance {readable(slack, unit)}; {change}"
    elif metric.samples and stored.samples:
        answer = rules.against(name, stored.samples, tolerance).conclude(
            metric.samples, metric.confirmation
        )
        verdict = VERDICT_BY_ANSWER[answer]
        rule = (
            f"tolerance {100 * tolerance:.3g} %, "
            f"{len(metric.samples) + len(metric.confirmation)} processes"
        )
    else:
        slack = stored.slack(tolerance)
        verdict = by_value(metric, stored, slack + accepted)
        rule = f"tolerance {readable(slack, unit)}"
    origin = origin_of(now, before)
    if verdict == "improved" and origin == "another class":
        verdict = "ok"  # the class explains it
    if accepted:
        rule += f", {readable(accepted, unit)} more accepted in baselines/"
    values = (readable(value, metric.unit) for value in (stored.value, metric.value))
    moved = "{} from {} to {} ({})".format(name, *values, rule)
    context = f"Compared with {before.file or 'the base'}, {origin}{advice(verdict)}"
    return Finding(now.key, now.name, name, verdict, moved, context)


def change_by_image(name: str, now: Entry, before: Entry) -> Flips | Differences | None:
    """What a metric of accuracy lost, image by image; None where that is not known."""
    change: Flips | Differences | None = None
    sides = now.by_image, before.by_image
    match sides:
        case Scores() as scored, Scores() as scored_before if name == SCORE.name:
            change = scores.differences(scored, scored_before)
        case Ranks() as ranked, Ranks() as ranked_before if name in ranks.WRONG_FROM:
            change = ranks.flips(ranked, ranked_before, name)
    return change if change and change.images else None


def advice(verdict: Verdict, acceptance: str = ACCEPT) -> str:
    """What to do about a verdict: a sentence behind another one."""
    if verdict == "regressed":
        return f". If that is intended, {acceptance}"
    if verdict == "improved":
        return f". To store that, {acceptance}" if acceptance == ACCEPT else ""
    if verdict == "undecided":
        return ". It is inconclusive: run it again on a machine with less other load"
    return ""


def by_value(now: Metric, before: Metric, slack: float) -> Verdict:
    """Worse than tolerated, better by as much, or neither."""
    worse = worsening(now, before)
    if worse > slack:
        return "regressed"
    return "improved" if worse < -slack else "ok"


def by_images(change: Flips | Differences, tolerance: float, alpha: float) -> Verdict:
    """Regressed where the loss is the tolerance or more, and its p-value at most ``alpha``.

    Args:
        tolerance: in points of top-1, or in the unit of the score.
    """
    if change.loss >= tolerance and change.p_value <= alpha:
        return "regressed"
    gain = change.reverse
    return "improved" if gain.loss >= tolerance and gain.p_value <= alpha else "ok"


def in_turn(now: Entry, tolerances: Tolerances) -> Finding:
    """A change of latency against a base that ran beside this code."""
    name = LATENCY_CHANGE.name
    metric = now.metrics[name]
    tolerance = tolerances.tolerance(name, now.variant, now.arithmetic)
    assert tolerance is not None
    answer = rules.in_turn(tolerance).conclude(metric.samples, metric.confirmation)
    verdict = VERDICT_BY_ANSWER[answer]
    pairs = len(metric.samples) + len(metric.confirmation)
    change = (
        f"{name} {readable(metric.value, metric.unit)} "
        f"(tolerance {100 * tolerance:.3g} %, {pairs} pairs of processes)"
    )
    context = f"Measured in turn with the base{advice(verdict, ACCEPT_LATENCY)}"
    return Finding(now.key, now.name, name, verdict, change, context)
