import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qmodels import gate
from qmodels.errors import UserError
from qmodels.gate import Baseline, Key
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
CLASS, NETWORK = "linux-x86_64-avx2", "digits-resnet34-w8"
FP32, INT8 = "fp32", "static-int8"


def benchmark(variant: str, value: float = 1.0, **extra: Any) -> dict[str, Any]:
    extra_info = {
        "network": NETWORK,
        "bench": "bench_size",
        "variant": variant,
        "batch_size": 1,
        "machine_class": CLASS,
        "dataset": "digits",
        "checkpoint": "weights",
        "made": MADE,
        "profile": ["long"] * 100,
        "metrics": {"size_bytes": measured("size_bytes", value).as_record()},
        **extra,
    }
    return {
        "fullname": f"benches/bench_size.py::bench_size[{variant}]",
        "name": f"bench_size[{variant}]",
        "group": "size",
        "param": variant,
        "params": {"variant": variant},
        "extra_info": extra_info,
        "stats": STATS,
    }


def key(variant: str) -> Key:
    return Key(NETWORK, "bench_size", variant, 1)


def run(*benchmarks: dict[str, Any]) -> dict[str, Any]:
    return {"machine_info": {"machine_class": CLASS}, "benchmarks": list(benchmarks)}


def stored(folder: Path) -> Path:
    return gate.baseline_path(folder, CLASS, NETWORK)


def read(folder: Path) -> Baseline:
    baseline = gate.read_baseline(stored(folder), CLASS)
    assert baseline is not None
    return baseline


def values(folder: Path) -> list[float]:
    return [one.metrics["size_bytes"].value for one in read(folder).entries.values()]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    kept = Ranks("digest", np.arange(9, dtype=np.uint8))
    (done,) = gate.accept(tmp_path, run(benchmark(INT8), benchmark(FP32, ranks=kept.as_record())))
    assert (done.path, done.kept, len(done.stored)) == (stored(tmp_path), 0, 2)
    baseline = read(tmp_path)
    assert list(baseline.entries) == [key(FP32), key(INT8)]
    one = baseline.entries[key(FP32)]
    assert one.metrics == {"size_bytes": measured("size_bytes", 1.0)}
    assert one.made == Made(**MADE)
    assert one.ranks is not None
    assert one.ranks.values.tolist() == list(range(9))
    assert gate.read_baseline(tmp_path / "none.json", "any") is None


def test_an_entry_is_the_same_wherever_its_bench_lies(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    moved = {**benchmark(FP32, 2.0), "fullname": "elsewhere/size.py::bench_size[fp32]"}
    gate.accept(tmp_path, run(moved))
    assert values(tmp_path) == [2.0]


def test_a_partial_run_keeps_the_other_entries_and_who_made_them(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    later = {**MADE, "date": "2026-02-02T00:00:00+00:00", "commit": "def"}
    (done,) = gate.accept(tmp_path, run(benchmark(INT8, 7.0, made=later)))
    assert done.kept == 1
    assert values(tmp_path) == [1.0, 7.0]
    assert [one.made.commit for one in read(tmp_path).entries.values()] == ["abc", "def"]


def test_only_what_is_named_is_accepted(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    gate.accept(tmp_path, run(benchmark(FP32, 5.0), benchmark(INT8, 5.0)), only=[key(INT8)])
    assert values(tmp_path) == [1.0, 5.0]


def test_entries_of_variants_that_are_gone_are_dropped_and_named(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    (done,) = gate.accept(tmp_path, run(benchmark(FP32, 2.0)), variants=[FP32])
    assert done.dropped == ("bench_size[static-int8]",)
    assert list(read(tmp_path).entries) == [key(FP32)]


def test_what_a_gpu_executed_is_stored_by_its_own_class(tmp_path: Path) -> None:
    on_gpu = benchmark("cuda-fp16", machine_class="cuda-sm90", gpu="some card")
    done = gate.accept(tmp_path, run(benchmark(FP32), on_gpu))
    assert [one.path.parent.name for one in done] == [CLASS, "cuda-sm90"]
    assert list(read(tmp_path).entries) == [key(FP32)]
    of_gpu = gate.read_baseline(gate.baseline_path(tmp_path, "cuda-sm90", NETWORK), "cuda-sm90")
    assert of_gpu is not None
    assert of_gpu.entries[key("cuda-fp16")].conditions["gpu"] == "some card"


def latency(samples: int, **more: Any) -> dict[str, Any]:
    ratio = measured("latency_ratio", 1.0, samples=(0.0,) * samples).as_record()
    return benchmark(INT8, metrics={"latency_ratio": ratio, **more})


def test_a_latency_of_fewer_processes_is_not_stored(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(latency(12)))
    (done,) = gate.accept(tmp_path, run(latency(4), benchmark(FP32)))
    assert done.stored == (key(FP32),)
    assert "4 processes, and the stored one of 12" in done.refused[0]
    assert "--qmodels-update-baseline" in done.refused[0]
    assert len(read(tmp_path).entries[key(INT8)].metrics["latency_ratio"].samples) == 12
    (done,) = gate.accept(tmp_path, run(latency(12)))
    assert done.refused == ()


def test_a_latency_beside_a_base_is_not_stored(tmp_path: Path) -> None:
    change = measured("latency_change", 1.0, samples=(0.0,)).as_record()
    (done,) = gate.accept(tmp_path, run(latency(12, latency_change=change)))
    assert done.stored == ()
    assert "beside a base" in done.refused[0]
    assert not stored(tmp_path).exists()


def test_a_change_is_a_line_in_a_diff(tmp_path: Path) -> None:
    gate.accept(tmp_path / "before", run(benchmark(FP32), benchmark(INT8)))
    gate.accept(tmp_path / "after", run(benchmark(FP32), benchmark(INT8, 2.0)))
    one, other = (stored(tmp_path / name).read_text().splitlines() for name in ("before", "after"))
    changed = [(line, now) for line, now in zip(one, other, strict=True) if line != now]
    assert len(changed) == 1
    assert '"size_bytes": {"value": 1.0' in changed[0][0]
    assert not any("long" in line or len(line) > 300 for line in one), "no raw data"


def test_who_made_it_stands_once(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    assert stored(tmp_path).read_text().count("2026-01-01") == 1


def test_a_baseline_of_another_machine_class_is_refused_in_one_line(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    with pytest.raises(UserError, match="made on linux-x86_64-avx2, and this is linux-x86_64-amx"):
        gate.read_baseline(stored(tmp_path), "linux-x86_64-amx")


def test_the_first_format_is_read_and_becomes_the_second(tmp_path: Path) -> None:
    kept = Ranks("digest", np.arange(9, dtype=np.uint8)).as_record()
    old = benchmark(FP32, architecture="resnet34", width=8, made="x")
    del old["extra_info"]["network"], old["extra_info"]["bench"]
    old["extra_info"]["metrics"]["rss_bytes"] = measured("rss_bytes", 5.0).as_record()
    path = stored(tmp_path)
    path.parent.mkdir()
    path.write_text(json.dumps({**run(old), "made": {"x": MADE}}))
    ranks_path(path).write_text(json.dumps({old["fullname"]: kept}))
    entry = read(tmp_path).entries[key(FP32)]
    assert list(entry.metrics) == ["size_bytes"], "resident memory meant something else"
    assert entry.ranks is not None
    gate.accept(tmp_path, run(benchmark(INT8)))
    assert json.loads(path.read_text())["format"] == 2
    again = read(tmp_path).entries[key(FP32)]
    assert again.ranks is not None
    assert (again.key, again.metrics, again.made) == (entry.key, entry.metrics, entry.made)


def test_a_later_format_is_refused_in_one_line(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    path = stored(tmp_path)
    path.write_text(path.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(UserError, match="has format 3, and this qmodels reads 2: use"):
        gate.read_baseline(path)


@pytest.mark.parametrize(
    ("checkpoint", "here", "found"),
    [
        ("weights", CLASS, CLASS),
        ("weights", "linux-x86_64-avx512_vnni", "linux-x86_64-amx"),
        ("weights", "linux-aarch64-i8mm", None),
        ("others", CLASS, "linux-x86_64-amx"),
        (None, CLASS, CLASS),
    ],
)
def test_the_nearest_class_with_these_weights_is_found(
    tmp_path: Path, checkpoint: str | None, here: str, found: str | None
) -> None:
    of_amx = [benchmark(FP32, machine_class="linux-x86_64-amx")]
    of_amx += [benchmark(INT8, machine_class="linux-x86_64-amx", checkpoint="others")]
    gate.accept(tmp_path, run(benchmark(FP32)))
    gate.accept(tmp_path, run(*of_amx))
    baseline = gate.find_baseline(tmp_path, here, NETWORK, checkpoint)
    assert (baseline.path.parent.name if baseline else None) == found


WHOLE = json.dumps({**run(benchmark(FP32, made="x")), "format": 2})


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
        WHOLE.replace('"batch_size": 1', '"batch_size": "one"'),
    ],
)
def test_a_damaged_baseline_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(UserError, match="damaged.*restore it from git") as caught:
        gate.read_baseline(path, CLASS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_predictions_are_refused_in_one_line(tmp_path: Path) -> None:
    kept = Ranks("digest", np.arange(9, dtype=np.uint8))
    gate.accept(tmp_path, run(benchmark(FP32, ranks=kept.as_record())))
    ranks_path(stored(tmp_path)).write_text("{")
    with pytest.raises(UserError, match="restore it from git"):
        gate.read_baseline(stored(tmp_path))
    ranks_path(stored(tmp_path)).write_text('{"bench_size[fp32]": {"images": "x", "packed": "!"}}')
    with pytest.raises(UserError, match="restore it from git"):
        gate.read_baseline(stored(tmp_path))
