"""Try rules on recorded pairs of processes: how often they are wrong, and what they miss.

A comparison begins at a random pair of the recording. It takes pairs in their order, none twice, as
many as the rule asks for: a disturbance that lasts minutes lasts as long in the comparison.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track
from tabulate import tabulate

from docs.study import rules
from docs.study.record import Row
from docs.study.rules import Exhausted, Outcome, Pair, Trial
from qmodels.gate.sequential import Case
from qmodels.gate.tolerances import Tolerances

UNCHANGED_COMPARISONS = 1000
CASE_COMPARISONS = 40
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
        comparisons: all of them.
        pairs: of processes that a comparison took, on average.
    """

    rule: str
    subject: str
    planted: int
    slowdown: float
    called: int
    undecided: int
    comparisons: int
    pairs: float

    @property
    def percent(self) -> float:
        """Percent of the comparisons in which the rule called something slower."""
        return 100 * self.called / max(1, self.comparisons)


def rates(rows: Sequence[Row], tolerances: Tolerances, *, console: Console) -> list[Rate]:
    """Rates of every rule for every amount of added work."""
    pairs = pairs_by_work(rows)
    unchanged = pairs.get(0, [])
    trials: dict[str, Trial] = {
        "in turn": rules.beside(tolerances),
        "stored": rules.stored(tolerances, unchanged),
        "median:5%": rules.alone("median", unchanged),
        "mean:5%": rules.alone("mean", unchanged),
    }
    all_rates = []
    for name, trial in track(trials.items(), "trying rules", console=console, transient=True):
        for planted, planted_pairs in sorted(pairs.items()):
            cases = list(planted_pairs[0])
            by_variant = [
                try_rule(
                    name,
                    variant,
                    trial,
                    planted,
                    planted_pairs,
                    [[case] for case in cases if case[0] == variant],
                )
                for variant in dict.fromkeys(variant for variant, _ in cases)
            ]
            if planted == 0:
                all_rates.append(try_rule(name, WHOLE_RUN, trial, planted, planted_pairs, [cases]))
            all_rates += [merge(by_variant, median_change(planted_pairs, cases)), *by_variant]
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
    """Apply a rule from many random starting points.

    Args:
        planted: percent of work added.
        comparisons: lists of cases, each compared together.
    """
    generator = random.Random(f"{subject} {planted}")
    repeats = UNCHANGED_COMPARISONS if subject == WHOLE_RUN else CASE_COMPARISONS
    outcomes = []
    for cases in comparisons * repeats:
        try:
            outcomes.append(trial(cases, rules.rotated(pairs, generator), generator))
        except Exhausted:
            outcomes.append(Outcome(frozenset(), frozenset(cases), len(pairs)))
    return Rate(
        rule=name,
        subject=subject,
        planted=planted,
        slowdown=median_change(pairs, [case for cases in comparisons for case in cases]),
        called=sum(bool(outcome.slower) for outcome in outcomes),
        undecided=sum(bool(outcome.undecided and not outcome.slower) for outcome in outcomes),
        comparisons=len(outcomes),
        pairs=sum(outcome.pairs for outcome in outcomes) / max(1, len(outcomes)),
    )


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
            f"{rate.percent:.1f} % ({rate.called} of {rate.comparisons})",
            rate.undecided,
            f"{rate.pairs:.1f}",
        ]
        for rate in rates
        if rate.subject in (WHOLE_RUN, ANY)
    ]
    by_variant: dict[tuple[str, str], list[str]] = {}
    for rate in rates:
        if rate.subject not in (WHOLE_RUN, ANY):
            percents = by_variant.setdefault((rate.rule, rate.subject), [])
            percents.append(f"{rate.percent:.0f} %")
    planted = sorted({rate.planted for rate in rates})
    return "\n\n".join(
        [
            markdown(
                [
                    *("Rule", "Of", "Work added (%)", "Measured (%)"),
                    *("Called slower", "Undecided", "Pairs"),
                ],
                overall,
            ),
            markdown(
                ["Rule", "Variant", *(f"{percent} % added" for percent in planted)],
                [[*names, *percents] for names, percents in by_variant.items()],
            ),
        ]
    )


def markdown(headers: list[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table of two columns of names, and numbers."""
    alignment = ["left", "left", *["right"] * (len(headers) - 2)]
    return tabulate(rows, headers, tablefmt="pipe", colalign=alignment, disable_numparse=True)
