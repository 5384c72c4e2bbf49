"""Try rules on recorded pairs of processes: how often they are wrong, and what they miss.

A comparison takes pairs in their order, as many as the rule asks for. The next one begins behind
them, so that no two comparisons of a case share a pair. A disturbance that lasts minutes lasts as
long in the comparison.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track
from tabulate import tabulate

from docs.study import rules
from docs.study.record import Row
from docs.study.rules import Exhausted, Outcome, Pair, Trial
from qmodels.gate.latency import Case
from qmodels.gate.sequential import STORED_PROCESSES
from qmodels.gate.tolerances import Tolerances

WHOLE_RUN, ANY = "a whole run", "any variant"


@dataclass(frozen=True)
class Rate:
    """How often a rule called something slower.

    Attributes:
        rule: its name.
        subject: the variant that was compared; ``ANY`` for any of them; ``WHOLE_RUN`` for all in
            one run, where each counts.
        planted: percent of work added; 0 for unchanged code.
        slowdown: percent that the added work came to, measured over all pairs, in turn.
        called: comparisons in which it called something slower.
        undecided: other comparisons in which it left a case open.
        comparisons: all that ended within the recording.
        cut_short: comparisons that the end of the recording cut short.
        pairs: of processes that a comparison took, on average.
    """

    rule: str
    subject: str
    planted: int
    slowdown: float
    called: int
    undecided: int
    comparisons: int
    cut_short: int
    pairs: float

    @property
    def percent(self) -> float:
        """Percent of the comparisons in which the rule called something slower."""
        return 100 * self.called / max(1, self.comparisons)


def rates(rows: Sequence[Row], tolerances: Tolerances, *, console: Console) -> list[Rate]:
    """Rates of every rule for every amount of added work.

    The rule for stored runs takes the first unchanged pairs as its stored run, and is tried on the
    others.
    """
    pairs = pairs_by_work(rows)
    unchanged = pairs.get(0, [])
    stored_run = unchanged[:STORED_PROCESSES]
    trials: dict[str, Trial] = {
        "in turn": rules.beside(tolerances),
        "stored": rules.stored(tolerances, stored_run),
        "median:5%": rules.alone("median", unchanged),
        "mean:5%": rules.alone("mean", unchanged),
    }
    all_rates = []
    for name, trial in track(trials.items(), "trying rules", console=console, transient=True):
        for planted, all_pairs in sorted(pairs.items()):
            tried = [pair for pair in all_pairs if name != "stored" or pair not in stored_run]
            if not tried:
                continue
            cases = list(tried[0])
            by_variant = [
                try_rule(
                    name,
                    variant,
                    trial,
                    planted,
                    tried,
                    [[case] for case in cases if case[0] == variant],
                )
                for variant in dict.fromkeys(variant for variant, _ in cases)
            ]
            if planted == 0:
                all_rates.append(try_rule(name, WHOLE_RUN, trial, planted, tried, [cases]))
            all_rates += [merge(by_variant, median_change(tried, cases)), *by_variant]
    return all_rates


def pairs_by_work(rows: Sequence[Row]) -> dict[int, list[Pair]]:
    """Recorded pairs in their order, by percent of work added."""
    by_number: dict[int, dict[Case, Row]] = {}
    for row in rows:
        by_number.setdefault(row.pair, {})[row.variant, row.batch_size] = row
    pairs: dict[int, list[Pair]] = {}
    for pair in by_number.values():
        pairs.setdefault(next(iter(pair.values())).planted, []).append(pair)
    return pairs


def try_rule(
    name: str,
    subject: str,
    trial: Trial,
    planted: int,
    pairs: list[Pair],
    comparisons: list[list[Case]],
) -> Rate:
    """Apply a rule from the first pair to the last.

    Args:
        planted: percent of work added.
        comparisons: lists of cases, each compared together.
    """
    outcomes: list[Outcome] = []
    cut_short = 0
    for cases in comparisons:
        ended, rest = outcomes_of(cases, trial, pairs)
        outcomes += ended
        cut_short += bool(rest)
    return Rate(
        rule=name,
        subject=subject,
        planted=planted,
        slowdown=median_change(pairs, [case for cases in comparisons for case in cases]),
        called=sum(bool(outcome.slower) for outcome in outcomes),
        undecided=sum(bool(outcome.undecided and not outcome.slower) for outcome in outcomes),
        comparisons=len(outcomes),
        cut_short=cut_short,
        pairs=sum(outcome.pairs for outcome in outcomes) / max(1, len(outcomes)),
    )


def outcomes_of(
    cases: list[Case], trial: Trial, pairs: list[Pair]
) -> tuple[list[Outcome], list[Pair]]:
    """What consecutive comparisons say, and the last pairs, which were too few for another."""
    outcomes = []
    while pairs:
        try:
            outcome = trial(cases, pairs)
        except Exhausted:
            break
        outcomes.append(outcome)
        pairs = pairs[outcome.pairs :]
    return outcomes, pairs


def median_change(pairs: list[Pair], cases: Sequence[Case]) -> float:
    """How much slower the heads were, in percent."""
    changes = [pair[case].change for pair in pairs for case in cases]
    return 100 * math.expm1(float(np.median(changes)))


def merge(by_variant: Sequence[Rate], slowdown: float) -> Rate:
    """The rates of all variants as one, of ``ANY``."""
    comparisons = sum(rate.comparisons for rate in by_variant)
    pairs = sum(rate.pairs * rate.comparisons for rate in by_variant)
    return Rate(
        rule=by_variant[0].rule,
        subject=ANY,
        planted=by_variant[0].planted,
        slowdown=slowdown,
        called=sum(rate.called for rate in by_variant),
        undecided=sum(rate.undecided for rate in by_variant),
        comparisons=comparisons,
        cut_short=sum(rate.cut_short for rate in by_variant),
        pairs=pairs / max(1, comparisons),
    )


def table(rates: Sequence[Rate]) -> str:
    """The rates as two Markdown tables: of all variants, and of each by each rule."""
    overall = [
        [
            rate.rule,
            rate.subject,
            rate.planted,
            f"{rate.slowdown:.1f}",
            f"{rate.called} of {rate.comparisons}",
            rate.undecided,
            rate.cut_short,
            f"{rate.pairs:.1f}",
        ]
        for rate in rates
        if rate.subject in (WHOLE_RUN, ANY)
    ]
    by_variant: dict[tuple[str, str], list[str]] = {}
    for rate in rates:
        if rate.subject not in (WHOLE_RUN, ANY):
            counts = by_variant.setdefault((rate.rule, rate.subject), [])
            counts.append(f"{rate.called} of {rate.comparisons}")
    planted = sorted({rate.planted for rate in rates})
    return "\n\n".join(
        [
            markdown(
                [
                    *("Rule", "Of", "Work added (%)", "Measured (%)"),
                    *("Called slower", "Undecided", "Cut short", "Pairs"),
                ],
                overall,
            ),
            markdown(
                ["Rule", "Variant", *(f"{percent} % added" for percent in planted)],
                [[*names, *counts] for names, counts in by_variant.items()],
            ),
        ]
    )


def markdown(headers: list[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table of two columns of names, and numbers."""
    alignment = ["left", "left", *["right"] * (len(headers) - 2)]
    return tabulate(rows, headers, tablefmt="pipe", colalign=alignment, disable_numparse=True)
