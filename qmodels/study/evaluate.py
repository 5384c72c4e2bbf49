"""Try rules on recorded pairs of processes: how often they are wrong, and what they miss.

A comparison begins anywhere in the recording and takes pairs in their order, none twice, as many as
the rule asks for: what lasts minutes on the machine lasts as long in the comparison.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from qmodels.gate import intervals, sequential
from qmodels.gate.processes import REFERENCE, STORED_PROCESSES, rule_beside
from qmodels.gate.sequential import Case, Rule, Samples
from qmodels.gate.tolerances import Tolerances
from qmodels.study.record import Row
from qmodels.variants import all_variants

UNCHANGED_COMPARISONS = 1000
CASE_COMPARISONS = 40
WHOLE_RUN, ANY = "a whole run", "any variant"
ONE_SIDED = 0.05  # of pytest-benchmark's rules that are tried: median:5% and mean:5%

Pair = Mapping[Case, Row]


@dataclass(frozen=True)
class Outcome:
    """What a rule says of some cases: those that it calls slower, and those that it can't tell of.

    ``pairs`` is how many pairs of processes it took.
    """

    slower: frozenset[Case]
    undecided: frozenset[Case]
    pairs: int


# A rule, given some cases and the pairs to draw from.
Trial = Callable[[Sequence[Case], list[Pair], random.Random], Outcome]


class Exhausted(Exception):
    """A rule asked for more pairs than were recorded."""


@dataclass(frozen=True)
class Rate:
    """How often a rule called something slower.

    Attributes:
        rule: its name.
        of: the variant that was compared, any of them, or all in one run, where any counts.
        planted: percent of work added; 0 for unchanged code.
        slowdown: what the work came to, percent, as measured over all pairs, in turn.
        called: comparisons in which it did.
        undecided: those in which it did not, and a case stayed in doubt.
        comparisons: all of them.
        pairs: of processes that a comparison took, on average.
    """

    rule: str
    of: str
    planted: int
    slowdown: float
    called: int
    undecided: int
    comparisons: int
    pairs: float


def rates(rows: Sequence[Row], tolerances: Tolerances, *, console: Console) -> list[Rate]:
    """Every rule on every amount of work."""
    pairs: dict[int, list[Pair]] = {}
    by_number: dict[int, dict[Case, Row]] = {}
    for row in rows:
        by_number.setdefault(row.pair, {})[row.variant, row.batch_size] = row
    for pair in by_number.values():
        pairs.setdefault(next(iter(pair.values())).planted, []).append(pair)
    unchanged = pairs.get(0, [])
    rules: dict[str, Trial] = {
        "in turn": beside(tolerances),
        "stored": stored(tolerances, unchanged),
        "median:5%": alone("median", unchanged),
        "mean:5%": alone("mean", unchanged),
    }
    found = []
    for name, rule in track(rules.items(), "trying rules", console=console, transient=True):
        for planted, some in sorted(pairs.items()):
            cases = list(some[0])
            each = [
                tried(
                    name,
                    variant,
                    rule,
                    planted,
                    some,
                    [[case] for case in cases if case[0] == variant],
                )
                for variant in dict.fromkeys(variant for variant, _ in cases)
            ]
            if planted == 0:
                found.append(tried(name, WHOLE_RUN, rule, planted, some, [cases]))
            found += [merged(each, median_change(some, cases)), *each]
    return found


def tried(
    name: str, of: str, rule: Trial, planted: int, pairs: list[Pair], asked: list[list[Case]]
) -> Rate:
    """A rule on one amount of work, on each of the lists of cases again and again."""
    generator = random.Random(f"{of} {planted}")
    times = UNCHANGED_COMPARISONS if of == WHOLE_RUN else CASE_COMPARISONS
    outcomes = []
    for some in asked * times:
        try:
            outcomes.append(rule(some, rotated(pairs, generator), generator))
        except Exhausted:
            outcomes.append(Outcome(frozenset(), frozenset(some), len(pairs)))
    return Rate(
        rule=name,
        of=of,
        planted=planted,
        slowdown=median_change(pairs, [case for some in asked for case in some]),
        called=sum(bool(one.slower) for one in outcomes),
        undecided=sum(bool(one.undecided and not one.slower) for one in outcomes),
        comparisons=len(outcomes),
        pairs=sum(one.pairs for one in outcomes) / max(1, len(outcomes)),
    )


def median_change(pairs: list[Pair], cases: Sequence[Case]) -> float:
    """How much slower the heads were, in percent."""
    return 100 * math.expm1(
        float(np.median([pair[case].change for pair in pairs for case in cases]))
    )


def merged(each: Sequence[Rate], slowdown: float) -> Rate:
    """The rates of all variants as one."""
    done = sum(rate.comparisons for rate in each)
    taken = sum(rate.pairs * rate.comparisons for rate in each)
    return Rate(
        rule=each[0].rule,
        of=ANY,
        planted=each[0].planted,
        slowdown=slowdown,
        called=sum(rate.called for rate in each),
        undecided=sum(rate.undecided for rate in each),
        comparisons=done,
        pairs=taken / max(1, done),
    )


def rotated(pairs: list[Pair], generator: random.Random) -> list[Pair]:
    """All pairs in their order, from a random one on."""
    start = generator.randrange(len(pairs))
    return pairs[start:] + pairs[:start]


def arithmetic(variant: str) -> str:
    """What a variant multiplies in; float32 of one that is no longer there."""
    known = all_variants().get(variant)
    return known.arithmetic if known else "float32"


def beside(tolerances: Tolerances) -> Trial:
    """Ours, of processes that take turns."""

    def trial(cases: Sequence[Case], pairs: list[Pair], generator: random.Random) -> Outcome:
        rules = {}
        for case in cases:
            rule = rule_beside(case[0], arithmetic(case[0]), tolerances)
            if rule is not None:
                rules[case] = rule
        return concluded(cases, pairs, rules, lambda row, pair: row.change)

    return trial


def stored(tolerances: Tolerances, unchanged: list[Pair]) -> Trial:
    """Ours, against a stored run of this host: ratios of other processes."""

    def trial(cases: Sequence[Case], pairs: list[Pair], generator: random.Random) -> Outcome:
        before = rotated(unchanged, generator)[:STORED_PROCESSES]
        pairs = [pair for pair in pairs if pair not in before]
        rules = {}
        for case in cases:
            name = "probe_ratio" if case[0] == REFERENCE else "latency_ratio"
            tolerance = tolerances.of(name, case[0], arithmetic(case[0]))
            if tolerance is None:
                continue
            samples = [base_ratio(pair[case]) for pair in before]
            rules[case] = Rule(
                lambda drawn, level, samples=samples: intervals.of_shift(  # type: ignore[misc]
                    drawn, samples, level
                ),
                math.log1p(tolerance),
            )
        return concluded(cases, pairs, rules, head_ratio)

    return trial


def base_ratio(row: Row) -> float:
    """The logarithm that a stored run keeps of a case."""
    return row.base_x_probe if row.variant == REFERENCE else row.base_x_fp32


def head_ratio(row: Row, pair: Pair) -> float:
    """That of the head. Where work was added, it was added to all; fp32 is then the base's."""
    if row.variant == REFERENCE:
        return row.head_x_probe
    return row.head_x_fp32 + (pair[REFERENCE, row.batch_size].change if row.planted else 0.0)


def concluded(
    cases: Sequence[Case],
    pairs: list[Pair],
    rules: Mapping[Case, Rule],
    sample: Callable[[Row, Pair], float],
) -> Outcome:
    """What the gate's own code makes of pairs drawn one after another."""
    left = iter(pairs)
    taken = 0

    def draw(wanted: Sequence[Case]) -> dict[Case, float]:
        nonlocal taken
        pair = next(left, None)
        if pair is None:
            raise Exhausted
        taken += 1
        return {case: sample(pair[case], pair) for case in wanted}

    drawn: dict[Case, Samples] = sequential.run(cases, draw, rules)
    answers = {
        case: sequential.conclude(drawn[case], rule.bound, rule.tolerance)
        for case, rule in rules.items()
    }

    def answered(what: sequential.Answer) -> frozenset[Case]:
        return frozenset(case for case, answer in answers.items() if answer == what)

    return Outcome(answered("slower"), answered("doubtful"), taken)


def alone(statistic: str, unchanged: list[Pair]) -> Trial:
    """pytest-benchmark's: a process now against a process of another time, by one statistic."""

    def trial(cases: Sequence[Case], pairs: list[Pair], generator: random.Random) -> Outcome:
        now = pairs[0]
        before = generator.choice([pair for pair in unchanged if pair is not now])
        slower = frozenset(
            case
            for case in cases
            if getattr(now[case], f"head_{statistic}")
            > (1 + ONE_SIDED) * getattr(before[case], f"base_{statistic}")
        )
        return Outcome(slower, frozenset(), 1)

    return trial


def table(found: Sequence[Rate]) -> str:
    """The rates as two Markdown tables: of all variants, and of each by each rule."""
    lines = [
        "| Rule | Of | Work added (%) | Measured (%) | Called slower | Undecided | Pairs |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {rate.rule} | {rate.of} | {rate.planted} | {rate.slowdown:.1f} | "
        f"{share(rate):.1f} % ({rate.called} of {rate.comparisons}) | {rate.undecided} | "
        f"{rate.pairs:.1f} |"
        for rate in found
        if rate.of in (WHOLE_RUN, ANY)
    ]
    planted = sorted({rate.planted for rate in found})
    lines += [
        "",
        "| Rule | Variant | " + " | ".join(f"{one} % added" for one in planted) + " |",
        "| --- | --- |" + " --: |" * len(planted),
    ]
    shares: dict[tuple[str, str], list[str]] = {}
    for rate in found:
        if rate.of not in (WHOLE_RUN, ANY):
            shares.setdefault((rate.rule, rate.of), []).append(f"{share(rate):.0f} %")
    lines += [f"| {rule} | {of} | " + " | ".join(row) + " |" for (rule, of), row in shares.items()]
    return "\n".join(lines)


def share(rate: Rate) -> float:
    """Percent of the comparisons in which a rule called something slower."""
    return 100 * rate.called / max(1, rate.comparisons)
