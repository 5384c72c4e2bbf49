"""Compare what was measured with the baseline, metric by metric.

The baseline is a stored run, of this host, of another host of the machine class, or of the nearest
class; or a base's run on this machine. How much may change depends on which: see ``tolerances``.
"""

from collections.abc import Mapping

from qmodels.gate.baseline import Baseline
from qmodels.gate.by_image import Change
from qmodels.gate.changes import StoredChanges, worsening
from qmodels.gate.comparison import Comparison, Stored, comparisons
from qmodels.gate.entry import Entry
from qmodels.gate.finding import ACCEPT_LATENCY, Finding, Verdict, advice
from qmodels.gate.run import Run
from qmodels.gate.sequential import Answer
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metric import Metric, readable

VERDICT_BY_ANSWER: Mapping[Answer, Verdict] = {
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
    return [
        judge(each)
        if isinstance(each, Comparison)
        else Finding(now.key, now.name, each.name, each.verdict, each.name, each.reason)
        for each in comparisons(now, baseline, tolerances, accepted)
    ]


def compare_run(run: Run, baseline: Baseline | None, tolerances: Tolerances) -> tuple[Finding, ...]:
    """Compare every benchmark of a run with a baseline, of which it may lack some."""
    findings = [
        finding
        for entry in run.entries.values()
        for finding in compare(entry, baseline, tolerances)
    ]
    stored = baseline.entries if baseline else {}
    return (*findings, *(finding for finding in run.gone if finding.key in stored))


def judge(comparison: Comparison) -> Finding:
    """The verdict on a metric that is compared."""
    now, name, stored = comparison.now, comparison.name, comparison.stored
    if stored is None:
        verdict, change = in_turn(comparison)
        context = f"Measured in turn with the base{advice(verdict, ACCEPT_LATENCY)}"
    else:
        verdict, change = against(comparison, stored)
        origin = f"{stored.file or 'the base'}, {stored.origin}"
        context = f"Compared with {origin}{advice(verdict)}"
    return Finding(now.key, now.name, name, verdict, change, context)


def in_turn(comparison: Comparison) -> tuple[Verdict, str]:
    """The verdict on a change against a base that ran beside this code, and the change."""
    metric, rule = comparison.metric, comparison.rule
    assert rule is not None
    verdict = VERDICT_BY_ANSWER[rule.conclude(metric.samples, metric.confirmation)]
    pairs = len(metric.samples) + len(metric.confirmation)
    said = f"tolerance {100 * comparison.tolerance:.3g} %, {pairs} pairs of processes"
    return verdict, f"{comparison.name} {metric.text} ({said})"


def against(comparison: Comparison, stored: Stored) -> tuple[Verdict, str]:
    """The verdict on a metric against a stored one, and the change with its rule."""
    metric, before, rule = comparison.metric, stored.metric, comparison.rule
    unit, slack = metric.unit_of_change, before.slack(comparison.tolerance)
    said = f"tolerance {readable(slack, unit)}"
    verdict: Verdict
    if stored.by_image is not None and stored.level is not None:
        verdict = by_images(stored.by_image, slack + stored.accepted, stored.level)
        said += f"; {stored.by_image}"
    elif rule is None:
        verdict = by_value(metric, before, slack + stored.accepted)
    else:
        verdict = VERDICT_BY_ANSWER[rule.conclude(metric.samples, metric.confirmation)]
        processes = len(metric.samples) + len(metric.confirmation)
        said = f"tolerance {100 * comparison.tolerance:.3g} %, {processes} processes"
    if verdict == "improved" and stored.origin == "another class":
        verdict = "ok"  # the class explains it
    if stored.accepted:
        said += f", {readable(stored.accepted, unit)} more accepted in baselines/"
    return verdict, f"{comparison.name} from {before.text} to {metric.text} ({said})"


def by_value(now: Metric, before: Metric, slack: float) -> Verdict:
    """Worse than tolerated, better by as much, or neither."""
    worse = worsening(now, before)
    if worse > slack:
        return "regressed"
    return "improved" if worse < -slack else "ok"


def by_images(change: Change, tolerance: float, alpha: float) -> Verdict:
    """Regressed where the loss is the tolerance or more, and its p-value at most ``alpha``.

    Args:
        tolerance: in points of top-1, or in the unit of the score.
    """
    if change.loss >= tolerance and change.p_value <= alpha:
        return "regressed"
    gain = change.reverse
    return "improved" if gain.loss >= tolerance and gain.p_value <= alpha else "ok"
