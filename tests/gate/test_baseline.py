import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qmodels import gate
from qmodels.errors import UserError
from qmodels.gate import Baseline, Entry
from qmodels.gate.baseline import Made, ranks_path
from qmodels.gate.ranks import Ranks
from qmodels.metric import measured

MADE = {
    "date": "2026-01-01T00:00:00+00:00",
    "commit": "abc",
    "host": "h",
    "versions": {"torch": "2.15.0"},
}
STATS = {"min": 1.0, "median": 1.23456789, "data": [1.0] * 1000}


def benchmark(name: str, value: float = 1.0, **extra: Any) -> dict[str, Any]:
    extra_info = {
        "variant": "fp32",
        "machine_class": "linux-x86_64-avx2",
        "dataset": "digits",
        "made": MADE,
        "profile": ["long"] * 100,
        "metrics": {"size_bytes": measured("size_bytes", value).as_record()},
        **extra,
    }
    return {
        "fullname": name,
        "name": name,
        "group": "size",
        "param": "fp32",
        "params": {"variant": "fp32"},
        "extra_info": extra_info,
        "stats": STATS,
    }


def run(*benchmarks: dict[str, Any]) -> dict[str, Any]:
    return {"machine_info": {"machine_class": "linux-x86_64-avx2"}, "benchmarks": list(benchmarks)}


def read(path: Path) -> Baseline:
    baseline = gate.read_baseline(path, "linux-x86_64-avx2")
    assert baseline is not None
    return baseline


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "class" / "file.json"
    kept = Ranks("digest", np.arange(9, dtype=np.uint8))
    assert gate.accept(path, run(benchmark("b"), benchmark("a", ranks=kept.as_record()))) == 0
    baseline = read(path)
    assert list(baseline.entries) == ["a", "b"]
    one = baseline.entries["a"]
    assert one.metrics == {"size_bytes": measured("size_bytes", 1.0)}
    assert one.made == Made(**MADE)
    assert one.ranks is not None
    assert one.ranks.values.tolist() == list(range(9))
    assert gate.read_baseline(tmp_path / "none.json", "any") is None


def test_a_partial_run_keeps_the_other_entries_and_who_made_them(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    gate.accept(path, run(benchmark("a"), benchmark("b")))
    later = {**MADE, "date": "2026-02-02T00:00:00+00:00", "commit": "def"}
    assert gate.accept(path, run(benchmark("b", 7.0, made=later))) == 1
    entries = read(path).entries
    assert [one.metrics["size_bytes"].value for one in entries.values()] == [1.0, 7.0]
    assert [one.made.commit for one in entries.values()] == ["abc", "def"]


def test_only_what_is_named_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    gate.accept(path, run(benchmark("a"), benchmark("b")))
    gate.accept(path, run(benchmark("a", 5.0), benchmark("b", 5.0)), only=["b"])
    values = [one.metrics["size_bytes"].value for one in read(path).entries.values()]
    assert values == [1.0, 5.0]


def test_a_change_is_a_line_in_a_diff(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    gate.accept(before, run(benchmark("a"), benchmark("b")))
    gate.accept(after, run(benchmark("a"), benchmark("b", 2.0)))
    one, other = (path.read_text().splitlines() for path in (before, after))
    changed = [(line, now) for line, now in zip(one, other, strict=True) if line != now]
    assert len(changed) == 1
    assert '"size_bytes": {"value": 1.0' in changed[0][0]
    assert not any("long" in line or len(line) > 300 for line in one), "no raw data"


def test_who_made_it_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    gate.accept(path, run(benchmark("a"), benchmark("b")))
    assert path.read_text().count("2026-01-01") == 1


def test_a_baseline_of_another_machine_class_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    gate.accept(path, run(benchmark("a")))
    with pytest.raises(UserError, match="made on linux-x86_64-avx2, and this is linux-x86_64-amx"):
        gate.read_baseline(path, "linux-x86_64-amx")


WHOLE = json.dumps(run(benchmark("a", made="x")))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"benchmarks": [{"fullname": "a", "extra_info": {}}]}',
        '{"benchmarks": 3}',
        WHOLE.replace('"lower"', '"sideways"'),
        WHOLE.replace('"value": 1.0', '"value": "much"'),
        WHOLE.replace('"value": 1.0', '"value": NaN'),
        WHOLE.replace('"value": 1.0', '"value": -Infinity'),
    ],
)
def test_a_damaged_baseline_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(UserError, match="damaged.*restore it from git") as caught:
        gate.read_baseline(path, "linux-x86_64-avx2")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_predictions_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    kept = Ranks("digest", np.arange(9, dtype=np.uint8))
    gate.accept(path, run(benchmark("a", ranks=kept.as_record())))
    ranks_path(path).write_text("{")
    with pytest.raises(UserError, match="restore it from git"):
        gate.read_baseline(path)
    ranks_path(path).write_text('{"a": {"images": "x", "packed": "!"}}')
    with pytest.raises(UserError, match="restore it from git"):
        gate.read_baseline(path)


def test_vanished_benchmarks_are_named_unless_excused() -> None:
    some = Entry("fp32", {}, {}, Made(**MADE))
    baseline = Baseline(Path("b.json"), {"a": some, "b": some, "c": some})
    assert gate.vanished(baseline, ran=["a"], excused=["c"]) == ["b"]
    assert gate.vanished(None, ran=[], excused=[]) == []
