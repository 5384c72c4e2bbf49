"""A metric over commits, as text: drawn in a line for each variant, and what changed it."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise

from tabulate import tabulate

from qmodels.gate import Tolerances
from qmodels.gate.history import UNCOMMITTED, Change, Commit, History, Series, elsewhere
from qmodels.report.table import escape

_BARS, _GAP = "▁▂▃▄▅▆▇█", "·"
# What a line needs at least to reach its full height: a change of 10 %, or of 0.1 points or dB.
_LEAST_SPAN = 0.1
# Of the last commits; so wide a line fits beside the other columns.
_MOST_BARS = 40
# Of a commit's subject in a table.
_MOST_LETTERS = 60


def history_text(
    history: History, metric: str, tolerances: Tolerances, *, every_commit: bool = False
) -> str:
    """A row for each variant, then the changes beyond tolerance by commit.

    Args:
        every_commit: also list each variant's values, commit by commit.
    """
    changes = {series.name: series.changes(metric, tolerances) for series in history.series}
    gated = any(_is_gated(series, metric, tolerances) for series in history.series)
    spans = [max(_scaled(series)) - min(_scaled(series)) for series in history.series]
    span = max(_LEAST_SPAN, *spans)
    rows = [
        _row(series, history.commits, changes[series.name], span, gated=gated)
        for series in history.series
    ]
    last = "Last changed by" if gated else "Last stored by"
    headers = ["Variant", "First", _drawn_range(history, span), "Last", "Change", last]
    align = ("left", "right", "left", "right", "right", "left")
    parts = [
        _title(metric, history),
        tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align),
        *(_listing(series, changes[series.name]) for series in history.series if every_commit),
        *_changes_by_commit(history, changes),
    ]
    if not gated:
        parts[-1] = f"{metric} is shown only: it has no tolerance that a change could exceed"
    return "\n\n".join(parts)


def _drawn_range(history: History, span: float) -> str:
    metric = history.series[0].values[0].metric
    height = f"{span:.2g} {metric.unit_of_change}" if metric.absolute else f"{100 * span:.3g} %"
    return f"{_BARS[0]} to {_BARS[-1]}: {height}"


def _is_gated(series: Series, metric: str, tolerances: Tolerances) -> bool:
    arithmetic = series.values[-1].arithmetic
    return tolerances.tolerance(metric, series.variant, arithmetic) is not None


def _scaled(series: Series) -> list[float]:
    """Values whose differences have one scale for all variants: as shares of the first value.

    Values of metrics whose tolerance is in their own unit are as they are.
    """
    first = series.values[0].metric
    divisor = 1.0 if first.absolute else abs(first.value) or 1.0
    return [value.metric.value / divisor for value in series.values]


def _title(metric: str, history: History) -> str:
    first, last = history.commits[0], history.commits[-1]
    if first == last:
        shown = f"{metric}, {_describe(first)} alone"
    else:
        shown = (
            f"{metric}, {_describe(first)} to {_describe(last)}, {len(history.commits)} versions"
        )
    if history.shallow:
        shown += "\nthis clone is shallow: `git fetch --unshallow` brings the commits before"
    return shown


def _row(
    series: Series,
    commits: Sequence[Commit],
    changes: Sequence[Change],
    span: float,
    *,
    gated: bool,
) -> list[str]:
    first, last = (series.values[place].metric for place in (0, -1))
    gone = series.values[-1].commit != commits[-1]
    return [
        series.name,
        first.text,
        line(series, commits, span),
        "gone" if gone else last.text,
        "" if gone else last.change_from(first.value),
        _changed_by(series, changes, within=", within tolerance" if gated else ""),
    ]


def _changed_by(series: Series, changes: Sequence[Change], *, within: str) -> str:
    """The last commit that changed a variant beyond its tolerance, or else at all."""
    if changes:
        return _describe(changes[-1].after.commit)
    for before, after in reversed(list(pairwise(series.values))):
        if before.metric.value != after.metric.value:
            return f"{_describe(after.commit)}{within}"
    return ""


def line(series: Series, commits: Sequence[Commit], span: float) -> str:
    """A bar for each of the last commits, above the least of them; a gap without a value."""
    of_commits = {
        value.commit: number for value, number in zip(series.values, _scaled(series), strict=True)
    }
    shown = [of_commits.get(commit) for commit in commits[-_MOST_BARS:]]
    least = min((value for value in shown if value is not None), default=0.0)
    steps = (len(_BARS) - 1) / span
    return "".join(
        _GAP if value is None else _BARS[round((value - least) * steps)] for value in shown
    )


def _describe(commit: Commit) -> str:
    return commit.subject if commit.sha == UNCOMMITTED else f"{commit.sha} of {commit.date}"


def _listing(series: Series, changes: Sequence[Change]) -> str:
    marks = {change.after.commit: _mark(change) for change in changes}
    values = series.values
    moved = [
        "",
        *(after.metric.change_from(before.metric.value) for before, after in pairwise(values)),
    ]
    rows = [
        [
            value.commit.sha,
            value.commit.date,
            value.metric.text,
            step,
            marks.get(value.commit, ""),
            escape(textwrap.shorten(value.commit.subject, _MOST_LETTERS, placeholder="...")),
        ]
        for value, step in zip(values, moved, strict=True)
    ]
    headers = [series.name, "Date", "Value", "Change", "", "Commit"]
    align = ("left", "left", "right", "right", "left", "left")
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)


def _changes_by_commit(history: History, changes: dict[str, list[Change]]) -> list[str]:
    paragraphs = []
    for commit in history.commits:
        lines = [
            f"  {name}: {change.before.metric.text} to "
            f"{change.after.metric.text}, {_mark(change)}"
            + (", on another host" if elsewhere(change.before, change.after) else "")
            for name, of_variant in changes.items()
            for change in of_variant
            if change.after.commit == commit
        ]
        if lines:
            subject = "" if commit.sha == UNCOMMITTED else f": {commit.subject}"
            paragraphs.append("\n".join([f"{_describe(commit)}{subject}", *lines]))
    if not paragraphs:
        return ["no commit changed it beyond its tolerance"]
    return paragraphs


def _mark(change: Change) -> str:
    return "better" if change.better else "worse"
