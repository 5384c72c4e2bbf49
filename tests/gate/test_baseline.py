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
    run,
    stored,
)


def test_a_baseline_of_another_machine_class_is_refused_in_one_line(tmp_path: Path) -> None:
    gate.accept(tmp_path, run(benchmark(FP32)))
    with pytest.raises(UserError, match="made on linux-x86_64-avx2, and this is linux-x86_64-amx"):
        gate.read_baseline(stored(tmp_path), "linux-x86_64-amx")


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
