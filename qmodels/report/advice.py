"""A choice in words: what the recommended variant buys and costs, or why there is none."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qmodels.gate import Run
from qmodels.report.accuracy import Accuracy
from qmodels.report.choice import (
    PREFERENCES,
    TORCH,
    Candidate,
    Choice,
    choose,
    differ,
    speed_up,
)
from qmodels.report.overview import WIDTH
from qmodels.system.defaults import REFERENCE
from qmodels.system.errors import NothingMeasured


@dataclass(frozen=True)
class Advice:
    """A paragraph of a recommendation: a heading, and labelled lines.

    An empty label continues the one before.
    """

    heading: str
    lines: tuple[tuple[str, str], ...] = ()


def choice_text(choice: Choice) -> str:
    """The recommendation in lines: what it buys and costs, the runner-up, what is missing."""
    lines = []
    for paragraph in advice(choice):
        lines.append(paragraph.heading)
        lines += [
            f"  {label:<7}{text}" if len(label) < 7 else f"  {label}: {text}"
            for label, text in paragraph.lines
        ]
    return wrap(lines)


def recommend(run: Run, max_drop: float) -> str:
    """The recommendation for the end of a run, or why there is none."""
    try:
        return choice_text(choose(run, max_drop))
    except NothingMeasured as error:
        return wrap([str(error), *(paragraph.heading for paragraph in _missing(run.skipped))])


def advice(choice: Choice) -> list[Advice]:
    """The variant to take and what speaks for it, or why there is none; what was not compared."""
    margin, prefer = f"at most {choice.max_drop:g} {choice.accuracy.margin}", choice.prefer
    if not choice.best:
        return [*_no_recommendation(choice, margin), *_missing(choice.unmeasured)]
    best, reference = choice.best[0], choice.reference
    lines = _gains(choice.best, choice)
    if reference and reference.value(prefer) <= best.value(prefer):
        lines.append(("but", f"its {prefer} is no less than that of {reference.variant}"))
    better = [c for c in choice.undecided if c.value(prefer) < best.value(prefer)]
    if better:
        lines.append((f"better in {prefer}, but may lose more", _names(better)))
    paragraphs = [
        Advice(
            f"recommended: {best.variant}, {PREFERENCES[prefer]} that loses {margin}",
            tuple(lines),
        )
    ]
    if choice.with_torch:
        heading = f"with torch alone: {choice.with_torch[0].variant}"
        paragraphs.append(Advice(heading, tuple(_gains(choice.with_torch, choice))))
    return [*paragraphs, *_confidence(best, choice), *_missing(choice.unmeasured)]


def _no_recommendation(choice: Choice, margin: str) -> list[Advice]:
    if choice.undecided:
        heading = f"undecided: no variant is shown to lose {margin}"
        nearest = min(choice.undecided, key=lambda candidate: candidate.interval[1])
        meets = []
        if nearest.drop.ci:
            least = math.ceil(100 * nearest.interval[1]) / 100
            meets.append(
                (
                    "meets",
                    f"a margin of {least:.2f} {choice.accuracy.drop.unit}; more images narrow the "
                    "interval",
                )
            )
    else:
        heading = (
            f"none: every variant loses more than {choice.max_drop:g} {choice.accuracy.margin}"
        )
        nearest = min(choice.exceeding, key=lambda candidate: candidate.interval[0])
        meets = []
    accuracy = choice.accuracy
    lines = (
        ("nearest", f"{nearest.variant}, {accuracy.label} {_change(nearest, accuracy)}"),
        *meets,
    )
    return [Advice(heading, lines), *_confidence(nearest, choice)]


def _gains(equal: Sequence[Candidate], choice: Choice) -> list[tuple[str, str]]:
    candidate, *others = equal
    differences = [*_speed_differences(candidate, choice), *_size_differences(candidate, choice)]
    buys = [text for is_cost, text in differences if not is_cost]
    costs = [text for is_cost, text in differences if is_cost]
    if candidate.runtime != TORCH:
        costs.append(f"the package {candidate.runtime}")
    # A change of accuracy may be either, and its interval mostly contains both.
    lines = [(choice.accuracy.label, _change(candidate, choice.accuracy))]
    lines += [("" if index else "buys", text) for index, text in enumerate(buys)]
    lines += [("" if index else "costs", text) for index, text in enumerate(costs)]
    if others:
        lines.append((f"not distinguishable in {choice.prefer}", _names(others)))
    return lines


def _speed_differences(candidate: Candidate, choice: Choice) -> list[tuple[bool, str]]:
    """Speed beside fp32's and the best float32's: whether the candidate is slower, and a text."""
    latency, best_float = candidate.metrics.get("latency"), choice.best_float
    if not latency:
        return []
    low, high = latency.ci or (latency.value, latency.value)
    times = 1 / latency.value
    images = "1 image" if choice.batch_size == 1 else f"{choice.batch_size} images"
    interval = _within(1 / high, 1 / low)
    texts = [(times < 1, f"{times:.2f} times the speed of fp32 with {images}{interval}")]
    if best_float and best_float.variant not in (REFERENCE, candidate.variant):
        gain = speed_up(candidate, best_float)
        interval = _within(gain.low, gain.high) if gain else ""
        times *= best_float.value("latency")
        other = f"{best_float.variant}, the best float32"
        texts.append((times < 1, f"{times:.2f} times the speed of {other}{interval}"))
    return texts


def _size_differences(candidate: Candidate, choice: Choice) -> list[tuple[bool, str]]:
    reference = choice.reference
    smaller: list[str] = []
    larger: list[str] = []
    for prefer, digits, of in (("size", 2, "of files"), ("memory", 1, "of memory")):
        if not reference or not {prefer} <= candidate.metrics.keys() & reference.metrics.keys():
            continue
        if differ(candidate, reference, prefer):
            now, before = (c.value(prefer) / 1e6 for c in (candidate, reference))
            text = f"{now:.{digits}f} MB {of} instead of {before:.{digits}f}"
            (larger if now > before else smaller).append(text)
    return [(texts is larger, ", ".join(texts)) for texts in (smaller, larger) if texts]


def _change(candidate: Candidate, accuracy: Accuracy) -> str:
    low, high = candidate.interval
    lost, most, least = (f"{round(-end, 2) + 0:+.2f}" for end in (candidate.drop.value, high, low))
    interval = f"{most} to {least}" if candidate.drop.ci else "no interval"
    images = "" if candidate.images is None else f", {candidate.images} images"
    return f"{lost} {accuracy.drop.unit} ({interval}{images})"


def _within(low: float, high: float) -> str:
    return f" ({low:.2f} to {high:.2f})" if low < high else ""


def _confidence(candidate: Candidate, choice: Choice) -> list[Advice]:
    levels = []
    drop, latency = candidate.drop, candidate.metrics.get("latency")
    if drop.ci_level:
        levels.append(f"{100 * drop.ci_level:.0f} % for {choice.accuracy.label}")
    if latency and latency.ci_level:
        processes = len(latency.samples) + len(latency.confirmation)
        levels.append(f"{100 * latency.ci_level:.0f} % for speed ({processes} processes)")
    elif latency:
        levels.append("none for speed, timed in too few processes")
    return [Advice(f"confidence of the intervals: {', '.join(levels)}")] if levels else []


def _missing(reasons: Mapping[str, Sequence[str]]) -> list[Advice]:
    return [
        Advice(f"not measured: {', '.join(variants)}: {why}") for why, variants in reasons.items()
    ]


def _names(candidates: Sequence[Candidate]) -> str:
    return ", ".join(candidate.variant for candidate in candidates)


def wrap(lines: Sequence[str]) -> str:
    """Lines of at most ``WIDTH`` columns; what goes on is indented."""
    wrapper = textwrap.TextWrapper(
        WIDTH, subsequent_indent=9 * " ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(part for line in lines for part in wrapper.wrap(line))
