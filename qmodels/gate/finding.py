"""Verdicts on metrics, as values and as lines for people."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from qmodels.gate.entry import Key

Verdict = Literal["ok", "regressed", "improved", "undecided", "new", "missing"]
VERDICTS: tuple[Verdict, ...] = ("ok", "regressed", "improved", "undecided", "new", "missing")

ACCEPT = "accept it with --qmodels-update-baseline"
_ACCEPT_LATENCY = "raise its tolerance in baselines/tolerances.toml"


class Finding(NamedTuple):
    """The verdict on one metric of one benchmark.

    Attributes:
        change: the metric with its two values and the rule; its name alone if it was not compared.
        context: what it was compared with, or why not, and the remedy: sentences.
    """

    key: Key
    name: str
    metric: str
    verdict: Verdict
    change: str
    context: str


class Failure(NamedTuple):
    """A bench that failed before it measured anything.

    Attributes:
        variant: that it was to measure; empty where the record does not say.
        network: of a session with several; empty of one alone.
    """

    name: str
    reason: str
    variant: str = ""
    network: str = ""


def advice(verdict: Verdict, *, in_turn: bool = False) -> str:
    """The remedy for a verdict, to be appended to another sentence.

    Args:
        in_turn: whether it is on a change against a base in turn, which is not stored.
    """
    if verdict == "regressed":
        return f". If that is intended, {_ACCEPT_LATENCY if in_turn else ACCEPT}"
    if verdict == "improved":
        return "" if in_turn else f". To store that, {ACCEPT}"
    if verdict == "undecided":
        return ". It is inconclusive: run it again on a machine with less other load"
    return ""


def exit_status(findings: Sequence[Finding], failures: Sequence[Failure] = ()) -> int:
    """The exit status that findings mean: 1 regressed or failed, 3 no answer, 0 else."""
    verdicts = {finding.verdict for finding in findings}
    if failures or "regressed" in verdicts:
        return 1
    return 0 if findings and not verdicts & {"missing", "undecided"} else 3


def lines(findings: Iterable[Finding]) -> list[str]:
    """A line for each benchmark and verdict, with the metrics that share it."""
    changes: dict[tuple[str, str, str], list[str]] = {}
    for finding in findings:
        group = (finding.name, finding.verdict, finding.context)
        changes.setdefault(group, []).append(finding.change)
    return [
        f"{name} {verdict}: {'; '.join(group)}. {context}"
        for (name, verdict, context), group in changes.items()
    ]
