from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qmodels import gate
from qmodels.gate import Provenance
from qmodels.gate.ranks import Ranks
from qmodels.measure.metrics import METRICS
from qmodels.system import codec
from qmodels.system.errors import UserError
from tests.gate.records import (
    CLASS,
    FP32,
    INT8,
    NETWORK,
    PROVENANCE,
    benchmark,
    key,
    read,
    run,
    stored,
    values,
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    kept = Ranks("digest", np.arange(9, dtype=np.uint8))
    (done,) = gate.accept(tmp_path, run(benchmark(INT8), benchmark(FP32, ranks=codec.encode(kept))))
    assert (done.path, done.kept, len(done.stored)) == (stored(tmp_path), 0, 2)
    baseline = read(tmp_path)
    assert list(baseline.entries) == [key(FP32), key(INT8)]
    entry = baseline.entries[key(FP32)]
    assert entry.metrics == {"size_bytes": METRICS["size_bytes"].of(1.0)}
    assert entry.provenance == codec.decode(Provenance, PROVENANCE)
    assert isinstance(entry.by_image, Ranks)
    assert entry.by_image.values.tolist() == list(range(9))
    assert gate.read_baseline(tmp_path / "none.json", "any") is None


def test_an_entry_is_the_same_wherever_its_bench_lies(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    moved = {**benchmark(FP32, 2.0), "fullname": "elsewhere/size.py::bench_size[fp32]"}
    gate.accept(tmp_path, run(moved))
    assert values(tmp_path) == [2.0]


def test_a_partial_run_keeps_the_other_entries_and_who_made_them(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    later = {**PROVENANCE, "date": "2026-02-02T00:00:00+00:00", "commit": "def"}
    (done,) = gate.accept(tmp_path, run(benchmark(INT8, 7.0, provenance=later)))
    assert done.kept == 1
    assert values(tmp_path) == [1.0, 7.0]
    assert [entry.provenance.commit for entry in read(tmp_path).entries.values()] == ["abc", "def"]


def test_only_what_is_named_is_accepted(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    gate.accept(tmp_path, run(benchmark(FP32, 5.0), benchmark(INT8, 5.0)), only=[key(INT8)])
    assert values(tmp_path) == [1.0, 5.0]


def test_entries_of_variants_that_are_gone_are_dropped_and_named(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    (done,) = gate.accept(tmp_path, run(benchmark(FP32, 2.0)), variants=[FP32])
    assert done.dropped == ("bench_size[static-int8]",)
    assert list(read(tmp_path).entries) == [key(FP32)]


def test_variants_that_could_not_run_are_stored_with_the_reason(tmp_path: Path) -> None:
    without = replace(run(benchmark(FP32)), skipped={"no TPU": ("a", "b"), "no C": (INT8,)})
    gate.accept(tmp_path, without)
    assert gate.read_run(stored(tmp_path)).skipped == without.skipped
    # Later one of them has run, and another has another reason.
    later = replace(run(benchmark(INT8)), skipped={"no license": ("b",)})
    gate.accept(tmp_path, later)
    skipped = gate.read_run(stored(tmp_path)).skipped
    assert skipped == {"no TPU": ("a",), "no license": ("b",)}


def test_what_a_gpu_executed_is_stored_by_its_own_class(tmp_path: Path) -> None:
    on_gpu = benchmark("cuda-fp16", machine_class="cuda-sm90", gpu="some card")
    done = gate.accept(tmp_path, run(benchmark(FP32), on_gpu))
    assert [file.path.parent.name for file in done] == [CLASS, "cuda-sm90"]
    assert list(read(tmp_path).entries) == [key(FP32)]
    of_gpu = gate.read_baseline(gate.baseline_path(tmp_path, "cuda-sm90", NETWORK), "cuda-sm90")
    assert of_gpu is not None
    assert of_gpu.entries[key("cuda-fp16")].gpu == "some card"


def latency(samples: int, **more: Any) -> dict[str, Any]:
    ratio = codec.encode(METRICS["latency_ratio"].of(1.0, samples=(0.0,) * samples))
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


def test_an_entry_without_the_stored_latency_does_not_replace_it(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(latency(12)))
    (done,) = gate.accept(tmp_path, run(benchmark(INT8, 5.0)))
    assert done.stored == ()
    assert "latency_ratio is of 0 processes, and the stored one of 12" in done.refused[0]


def test_an_entry_without_what_its_machine_cannot_measure_is_not_stored(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32, 5.0)))
    unmeasured = benchmark(FP32, metrics={}, unmeasured={"size_bytes": "no scales"})
    (done,) = gate.accept(tmp_path, run(unmeasured))
    assert "it lacks size_bytes (no scales), and the stored one has it" in done.refused[0]
    assert values(tmp_path) == [5.0]


def test_a_named_file_of_another_class_is_refused(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    elsewhere = run(benchmark(FP32, machine_class="linux-x86_64-amx"))
    before = stored(tmp_path).read_bytes()
    with pytest.raises(UserError, match="was measured on linux-x86_64-amx: leave out --baseline"):
        gate.accept(tmp_path, elsewhere, file=stored(tmp_path))
    assert stored(tmp_path).read_bytes() == before


def test_a_new_file_is_of_one_class(tmp_path: Path) -> None:
    both = run(benchmark(FP32), benchmark(INT8, machine_class="linux-x86_64-amx"))
    with pytest.raises(UserError, match="was measured on linux-x86_64-amx"):
        gate.accept(tmp_path, both, file=tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == []


def test_a_latency_beside_a_base_is_not_stored(tmp_path: Path) -> None:
    change = codec.encode(METRICS["latency_change"].of(1.0, samples=(0.0,)))
    (done,) = gate.accept(tmp_path, run(latency(12, latency_change=change)))
    assert done.stored == ()
    assert "against a base revision" in done.refused[0]
    assert not stored(tmp_path).exists()


def test_a_change_is_a_line_in_a_diff(tmp_path: Path) -> None:
    gate.accept(tmp_path / "before", run(benchmark(FP32), benchmark(INT8)))
    gate.accept(tmp_path / "after", run(benchmark(FP32), benchmark(INT8, 2.0)))
    before, after = (
        stored(tmp_path / name).read_text().splitlines() for name in ("before", "after")
    )
    changed = [(line, now) for line, now in zip(before, after, strict=True) if line != now]
    assert len(changed) == 1
    assert '"size_bytes": {"value": 1.0' in changed[0][0]
    assert not any("long" in line or len(line) > 600 for line in before), "no raw data"


def test_who_made_it_stands_once(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)))
    assert stored(tmp_path).read_text().count("2026-01-01") == 1


def test_parameters_that_are_no_json_are_stored_as_texts(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    params = {"variant": FP32, "size": 8, "sizes": {1}, "deep": deep}
    (entry,) = run(benchmark(FP32)).entries.values()
    gate.accept(tmp_path, gate.Run.from_entries([replace(entry, params=params)]))
    (kept,) = read(tmp_path).entries.values()
    assert kept.params is not None
    assert kept.params["deep"].startswith("[[[[")
    others = {name: value for name, value in kept.params.items() if name != "deep"}
    assert others == {"variant": FP32, "size": 8, "sizes": "{1}"}


def test_nothing_is_written_of_a_run_that_can_not_be_stored(tmp_path: Path) -> None:
    (entry,) = run(benchmark(FP32)).entries.values()
    with pytest.raises(TypeError):
        gate.accept(tmp_path, gate.Run.from_entries([replace(entry, source={"of": {1}})]))
    assert list(tmp_path.rglob("*.json")) == []
