import json
from pathlib import Path

import pytest

from qmodels import gate
from qmodels.gate.history import UNCOMMITTED, History, Series, read_history
from qmodels.gate.tolerances import Tolerances
from qmodels.system.errors import UserError
from tests.gate import repositories
from tests.gate.records import PROVENANCE, benchmark, record, run

TOLERANCES = Tolerances.decode({"size_bytes": {"tolerance": 0.05, "other_host": 0.2}})


def numbers(series: Series) -> list[float]:
    return [value.metric.value for value in series.values]


def changes(series: Series, tolerances: Tolerances) -> list[tuple[str, float, float, bool]]:
    return [
        (
            change.after.commit.subject,
            change.before.metric.value,
            change.after.metric.value,
            change.better,
        )
        for change in series.changes("size_bytes", tolerances)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return repositories.make(tmp_path / "repository")


@pytest.fixture
def history(path: Path) -> History:
    return read_history(path, "size_bytes")


def test_every_commit_that_stored_the_run_is_a_version(history: History) -> None:
    assert [commit.subject for commit in history.commits] == ["First", "Second", "Third", "Fourth"]
    assert all(len(commit.date) == 10 and len(commit.sha) >= 7 for commit in history.commits)
    values = {series.name: numbers(series) for series in history.series}
    assert values == {
        "small": [1000, 960, 920, 920],
        "large": [2000, 2000, 2600, 2600],
        "late": [5, 5.1],
    }
    assert {value.host for series in history.series for value in series.values} == {"h"}


def test_small_steps_add_up_until_they_are_beyond_the_tolerance(history: History) -> None:
    by_name = {series.name: changes(series, TOLERANCES) for series in history.series}
    assert by_name == {
        "small": [("Third", 1000, 920, True)],
        "large": [("Third", 2000, 2600, False)],
        "late": [],
    }


def test_without_a_tolerance_no_change_is_worse_or_better(history: History) -> None:
    assert [changes(series, Tolerances.decode({})) for series in history.series] == [[], [], []]
    exact = Tolerances.decode({"size_bytes": {"tolerance": 0.0}})
    (late,) = (series for series in history.series if series.name == "late")
    assert changes(late, exact) == [("Fourth", 5, 5.1, False)]


def test_another_host_has_its_own_tolerance(path: Path) -> None:
    elsewhere = {**PROVENANCE, "host": "other"}
    gate.accept(
        path.parents[1],
        run(
            benchmark("small", 1010, provenance=elsewhere),
            benchmark("large", 3200, provenance=elsewhere),
        ),
    )
    repositories.commit(path.parents[1], "Elsewhere")
    by_name = {series.name: series for series in read_history(path, "size_bytes").series}
    assert [subject for subject, *_ in changes(by_name["small"], TOLERANCES)] == ["Third"]
    assert [subject for subject, *_ in changes(by_name["large"], TOLERANCES)] == [
        "Third",
        "Elsewhere",
    ]


def test_what_is_not_committed_is_the_last_version(path: Path) -> None:
    path.write_text(path.read_text().replace("2600", "2700"))
    history = read_history(path, "size_bytes")
    assert history.commits[-1].sha == UNCOMMITTED
    (large,) = (series for series in history.series if series.name == "large")
    assert numbers(large) == [2000, 2000, 2600, 2600, 2700]


def test_earlier_formats_count_and_damage_is_passed_over(path: Path) -> None:
    earlier = benchmark("small", 800, arithmetic="float32", provenance="id")
    stored = {"format": 2, "made": {"id": {**PROVENANCE, "host": "old"}}, **record(earlier)}
    other = json.loads(path.read_text())
    for entry in other["entries"].values():
        entry["about"]["arithmetic"] = []
    for subject, text in (
        ("Earlier", json.dumps(stored)),
        ("Damaged", "{"),
        ("Empty", "{}"),
        ("Deep", "[" * 100_000),
        ("Other", json.dumps(other)),
    ):
        path.write_text(text)
        repositories.commit(path.parents[1], subject)
    path.write_bytes(b"\xff\xfe{")
    repositories.commit(path.parents[1], "No text")
    path.unlink()
    repositories.commit(path.parents[1], "Deleted")
    history = read_history(path, "size_bytes")
    assert [commit.subject for commit in history.commits][-2:] == ["Fourth", "Earlier"]
    (small,) = (series for series in history.series if series.name == "small")
    assert numbers(small)[-2:] == [920, 800]
    assert small.values[-1].host == "old"


def test_a_merge_changed_what_it_brought_and_nothing_else(path: Path) -> None:
    folder = path.parents[1]
    repositories.git(folder, "branch", "-M", "main")
    for branch, before, after in (("a", "2600", "3600"), ("b", "920", "820")):
        repositories.git(folder, "checkout", "-qb", branch, "main")
        path.write_text(path.read_text().replace(before, after))
        repositories.commit(folder, f"On {branch}")
    repositories.git(folder, "checkout", "-q", "main")
    for branch in ("a", "b"):
        repositories.git(folder, "merge", "-q", "--no-ff", "-m", f"Merge {branch}", branch)
    by_name = {series.name: series for series in read_history(path, "size_bytes").series}
    later = {name: changes(series, TOLERANCES)[1:] for name, series in by_name.items()}
    assert later["large"] == [("Merge a", 2600, 3600, False)]
    assert later["small"] == [("Merge b", 920, 820, True)]


@pytest.mark.parametrize("subject", ["", "a\tb", "two\u2028lines", "form\x0cfeed", "café"])
def test_any_subject_is_one(path: Path, subject: str) -> None:
    path.write_text(path.read_text().replace("2600", "2700"))
    folder = path.parents[1]
    repositories.git(folder, "add", "-A")
    repositories.git(folder, "commit", "-q", "--allow-empty-message", "-m", subject)
    assert read_history(path, "size_bytes").commits[-1].subject == subject


def test_a_shallow_clone_says_so(path: Path, tmp_path: Path) -> None:
    url = f"file://{path.parents[1]}"
    repositories.git(tmp_path, "clone", "-q", "--depth", "1", url, "shallow")
    shallow = read_history(tmp_path / "shallow" / path.parent.name / path.name, "size_bytes")
    assert shallow.shallow
    assert len(shallow.commits) == 1
    assert not read_history(path, "size_bytes").shallow


def test_several_batch_sizes_are_several_series(path: Path) -> None:
    folder = path.parents[1]
    gate.accept(folder, run({**benchmark("small", 7, batch_size=8), "name": "bench_size[8]"}))
    repositories.commit(folder, "Eight")
    names = {series.name: numbers(series)[-1] for series in read_history(path, "size_bytes").series}
    assert names["small (1)"] == 920
    assert names["small (8)"] == 7


def test_what_was_never_stored_is_one_line(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no commit of digits-resnet34-w8.json stored top1: name"):
        read_history(path, "top1")
    with pytest.raises(
        UserError, match="has no history .*not a git repository.*: run this in a clone"
    ):
        read_history(tmp_path / path.name, "size_bytes")
