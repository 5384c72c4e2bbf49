from dataclasses import replace
from pathlib import Path

import pytest

from qmodels.gate import Tolerances
from qmodels.gate.history import Commit, History, Series, Value, read_history
from qmodels.measure.metrics import METRICS
from qmodels.report.history import history_text, line
from tests.cli.conftest import cells
from tests.gate import repositories

TOLERANCES = Tolerances.decode({"size_bytes": {"tolerance": 0.05}})


@pytest.fixture
def history(tmp_path: Path) -> History:
    return read_history(repositories.make(tmp_path / "repository"), "size_bytes")


def test_a_variant_is_drawn_in_a_line(history: History) -> None:
    third = history.commits[2]
    title, table, *paragraphs = history_text(history, "size_bytes", TOLERANCES).split("\n\n")
    assert title.startswith("size_bytes, ")
    assert title.endswith(", 4 versions")
    rows = {cells(row)[0]: row for row in table.splitlines()}
    # All lines have one scale: the whole height is the 30 % of ``large``.
    assert cells(rows["Variant"])[2] == "▁ to █: 30 %"
    assert cells(rows["small"])[1:] == [
        *("1.0 kB", "▃▂▁▁", "0.9 kB", "-8.00 %", f"{third.sha} of {third.date}"),
    ]
    assert cells(rows["large"])[2:5] == ["▁▁██", "2.6 kB", "+30.00 %"]
    assert "| ··▁▁" in rows["late"]
    assert cells(rows["late"])[5] == (f"{history.commits[3].sha} of {third.date}, within tolerance")
    assert paragraphs == [
        f"{third.sha} of {third.date}: Third\n"
        "  large: 2.0 kB to 2.6 kB, worse\n"
        "  small: 1.0 kB to 0.9 kB, better"
    ]


def test_every_commit_can_be_listed(history: History) -> None:
    text = history_text(history, "size_bytes", TOLERANCES, every_commit=True)
    _title, _table, *listings = text.split("\n\n")
    by_name = {cells(listing.splitlines()[0])[0]: listing for listing in listings[:-1]}
    assert list(by_name) == [series.name for series in history.series]
    first, second, *_ = (cells(row) for row in by_name["small"].splitlines()[2:])
    assert first == [history.commits[0].sha, history.commits[0].date, "1.0 kB", "", "", "First"]
    assert second[3:] == ["-4.00 %", "", "Second"]
    assert "| worse | Third" in by_name["large"]


def test_a_variant_that_is_gone_has_no_last_value(history: History) -> None:
    series = [replace(series, values=series.values[:-1]) for series in history.series]
    text = history_text(replace(history, series=tuple(series)), "size_bytes", TOLERANCES)
    rows = {cells(row)[0]: cells(row) for row in text.splitlines() if row.startswith("|")}
    assert rows["large"][2:5] == ["▁▁█·", "gone", ""]


def test_one_commit_and_a_shallow_clone_are_said(history: History) -> None:
    only = replace(history, commits=history.commits[:1], shallow=True)
    text = history_text(only, "size_bytes", TOLERANCES)
    first = history.commits[0]
    assert text.startswith(
        f"size_bytes, {first.sha} of {first.date} alone\nthis clone is shallow: `git fetch "
    )


def test_without_a_change_it_says_so(history: History) -> None:
    lenient = Tolerances.decode({"size_bytes": {"tolerance": 1.0}})
    text = history_text(history, "size_bytes", lenient)
    assert text.endswith("no commit changed it beyond its tolerance")


def test_a_metric_that_is_not_gated_has_no_verdicts(history: History) -> None:
    text = history_text(history, "size_bytes", Tolerances.decode({}))
    assert text.endswith("size_bytes is shown only: it has no tolerance that a change could exceed")
    assert not {"worse", "better"} & set(text.split())
    assert "Last stored by" in text
    assert ", within tolerance" not in text


def test_noise_and_small_changes_are_flat_lines() -> None:
    commits = [Commit(f"{number:07x}", "2026-01-01", "") for number in range(3)]

    def drawn(name: str, *values: float) -> str:
        of_commits = zip(commits, values, strict=True)
        noisy = tuple(Value(c, METRICS[name].of(value), "int8", None) for c, value in of_commits)
        history = History(tuple(commits), (Series("v", None, noisy),), shallow=False)
        row = history_text(history, name, TOLERANCES).splitlines()[4]
        return cells(row)[2]

    assert drawn("latency_ms", 4.67, 4.68, 4.67) == "▁▁▁"
    assert drawn("latency_ms", 4.0, 4.5, 4.0) == "▁█▁"
    assert drawn("top1", 71.55, 71.56, 71.55) == "▁▂▁"
    assert drawn("top1", 71.0, 72.0, 71.2) == "▁█▂"


def test_a_line_ends_with_the_last_commit_and_is_not_too_long() -> None:
    commits = [Commit(f"{number:07x}", "2026-01-01", "") for number in range(100)]
    values = (
        Value(commit, METRICS["size_bytes"].of(100 + number), "int8", None)
        for number, commit in enumerate(commits)
    )
    drawn = line(Series("v", None, tuple(values)), commits, span=0.39)
    assert len(drawn) == 40
    assert (drawn[0], drawn[-1]) == ("▁", "█")
