from pathlib import Path

import pytest

from qmodels import gate
from qmodels.system.errors import UserError
from tests.gate.records import (
    CLASS,
    FP32,
    INT8,
    NETWORK,
    benchmark,
    key,
    read,
    run,
    stored,
)


def test_a_baseline_of_another_machine_class_is_refused_in_one_line(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    with pytest.raises(UserError, match="made on linux-x86_64-avx2, and this is linux-x86_64-amx"):
        gate.read_baseline(stored(tmp_path), "linux-x86_64-amx")


AMX = "linux-x86_64-amx"


@pytest.mark.parametrize(
    ("here", "expected"),
    [(CLASS, CLASS), ("linux-x86_64-avx512_vnni", AMX), ("linux-aarch64-i8mm", None)],
)
def test_the_stored_run_of_the_nearest_class_is_found(
    tmp_path: Path, here: str, expected: str | None
) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)), whole=True)
    gate.accept(tmp_path, run(benchmark(FP32, machine_class=AMX)), whole=True)
    baseline = gate.find_baseline(tmp_path, [here], NETWORK)
    assert (baseline.path.parent.name if baseline else None) == expected
    if baseline:
        assert (here in baseline.partial_for) == (here != expected)


def test_a_partial_file_is_completed_from_that_of_the_nearest_class(tmp_path: Path) -> None:
    of_amx = [benchmark(name, machine_class=AMX) for name in (FP32, INT8)]
    gate.accept(tmp_path, run(*of_amx), whole=True)
    gate.accept(tmp_path, run(benchmark(INT8, 2.0)))
    baseline = gate.find_baseline(tmp_path, [CLASS], NETWORK)
    assert baseline is not None
    assert baseline.path == stored(tmp_path)
    assert baseline.partial_for == {CLASS}
    assert {k.variant: entry.machine_class for k, entry in baseline.entries.items()} == {
        FP32: AMX,
        INT8: CLASS,
    }
    gate.accept(tmp_path, run(benchmark(INT8, 3.0)))
    assert read(tmp_path).partial_for == {CLASS}
    gate.accept(tmp_path, run(benchmark(INT8, 3.0)), whole=True)
    assert read(tmp_path).partial_for == frozenset()
    baseline = gate.find_baseline(tmp_path, [CLASS], NETWORK)
    assert baseline is not None
    assert list(baseline.entries) == [key(INT8)]


def test_a_part_of_a_run_leaves_a_whole_file_whole(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32), benchmark(INT8)), whole=True)
    gate.accept(tmp_path, run(benchmark(INT8, 2.0)))
    assert read(tmp_path).partial_for == frozenset()


def test_a_gpu_without_a_stored_run_has_new_entries_and_a_processor_missing_ones(
    tmp_path: Path,
) -> None:
    on_gpu = benchmark("cuda-fp16", machine_class="cuda-sm90")
    gate.accept(tmp_path, run(benchmark(FP32)), whole=True)
    processor = gate.find_baseline(tmp_path, [CLASS, "cuda-sm80"], NETWORK)
    assert processor is not None
    assert processor.partial_for == {"cuda-sm80"}
    gate.accept(tmp_path, run(on_gpu), whole=True)
    gpu = gate.find_baseline(tmp_path, ["linux-aarch64-i8mm", "cuda-sm90"], NETWORK)
    assert gpu is not None
    assert [entry.variant for entry in gpu.entries.values()] == ["cuda-fp16"]
    assert gpu.partial_for == frozenset()
