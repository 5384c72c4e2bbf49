"""Compare what was measured with the baseline, metric by metric.

The baseline is a stored run, of this host, of another host of the machine class, or of the nearest
class; or a base's run on this machine. How much may change depends on which: see ``tolerances``.
"""

from collections.abc import Mapping

from qmodels.gate.baseline import Baseline
from qmodels.gate.changes import StoredChanges, worsening
from qmodels.gate.comparison import Comparison, InTurn, Uncompared, comparisons
from qmodels.gate.entry import Entry
from qmodels.gate.finding import Finding, Verdict, advice
from qmodels.gate.run import Run
from qmodels.gate.sequential import Answer
from qmodels.gate.tolerances import Tolerances
from qmodels.measure.metric import Metric, readable

_VERDICT_BY_ANSWER: Mapping[Answer, Verdict] = {
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
    return [_finding_on(each, now) for each in comparisons(now, baseline, tolerances, accepted)]


def compare_run(run: Run, baseline: Baseline | None, tolerances: Tolerances) -> tuple[Finding, ...]:
    """Compare every benchmark of a run with a baseline, of which it may lack some."""
    findings = [
        finding
        for entry in run.entries.values()
        for finding in compare(entry, baseline, tolerances)
    ]
    stored = baseline.entries if baseline else {}
    gone = [
        finding
        for finding in run.gone
        if finding.key in stored and finding.metric in stored[finding.key].metrics
    ]
    return (*findings, *gone)


def _finding_on(each: InTurn | Comparison | Uncompared, now: Entry) -> Finding:
    match each:
        case Uncompared():
            verdict, change, context = each.verdict, each.name, each.reason
        case InTurn():
            verdict, change = _judge_in_turn(each)
            context = f"Measured in turn with the base{advice(verdict, in_turn=True)}"
        case Comparison():
            verdict, change = _judge(each)
            stored = f"{each.file or 'the base'}, {each.origin}"
            context = f"Compared with {stored}{advice(verdict)}"
    return Finding(now.key, now.name, each.name, verdict, change, context)


def _judge_in_turn(each: InTurn) -> tuple[Verdict, str]:
    metric = each.metric
    verdict = _VERDICT_BY_ANSWER[each.rule.conclude(metric.samples, metric.confirmation)]
    pairs = len(metric.samples) + len(metric.confirmation)
    said = f"tolerance {100 * each.tolerance:.3g} %, {pairs} pairs of processes"
    return verdict, f"{each.name} {metric.text} ({said})"


def _judge(each: Comparison) -> tuple[Verdict, str]:
    metric, stored = each.metric, each.stored
    unit, slack = metric.unit_of_change, stored.slack(each.tolerance)
    said = f"tolerance {readable(slack, unit)}"
    if each.images is not None:
        verdict = each.images.verdict(slack + each.accepted)
        said += f"; {each.images.change}"
    elif each.rule is None:
        verdict = _by_value(metric, stored, slack + each.accepted)
    else:
        verdict = _VERDICT_BY_ANSWER[each.rule.conclude(metric.samples, metric.confirmation)]
        processes = len(metric.samples) + len(metric.confirmation)
        said = f"tolerance {100 * each.tolerance:.3g} %, {processes} processes"
    if verdict == "improved" and each.origin == "another class":
        verdict = "ok"  # the class explains it
    if each.accepted:
        said += f", {readable(each.accepted, unit)} more accepted in baselines/"
    return verdict, f"{each.name} from {stored.text} to {metric.text} ({said})"


def _by_value(now: Metric, before: Metric, slack: float) -> Verdict:
    worse = worsening(now, before)
    if worse > slack:
        return "regressed"
    return "improved" if worse < -slack else "ok"
