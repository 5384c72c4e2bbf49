from pathlib import Path

import pytest
from torch import Tensor, nn

from qmodels.data import example_images
from qmodels.gate import read_tolerances
from qmodels.measure import memory, operators

IMAGES = example_images(1, (3, 32, 32))
BASELINES = Path(__file__).parents[2] / "baselines"
TOLERANCES = read_tolerances(BASELINES)
SIZE = IMAGES.numel() * IMAGES.element_size()


def test_totals_count_each_allocation_once() -> None:
    def forward(images: Tensor) -> Tensor:
        return (images + images) * images  # the first result dies when the second exists

    profiled = memory.profile(forward, IMAGES)
    assert profiled.allocated_bytes == 2 * SIZE
    assert profiled.peak_bytes == 2 * SIZE


def test_memory_freed_on_the_way_is_no_peak() -> None:
    def forward(images: Tensor) -> Tensor:
        for _ in range(5):
            images = images + IMAGES
        return images

    profiled = memory.profile(forward, IMAGES)
    assert profiled.allocated_bytes == 5 * SIZE
    assert profiled.peak_bytes == 2 * SIZE
    row = next(row for row in profiled.rows if row.name == "aten::add")
    assert (row.calls, row.cpu_bytes) == (5, 5 * SIZE)


def test_an_extra_copy_in_the_forward_is_seen(small_model: nn.Module) -> None:
    plain = memory.profile(small_model, IMAGES).metrics()
    copying = memory.profile(lambda images: small_model(images.clone()), IMAGES).metrics()
    for name in ("allocated_bytes", "operator_calls"):
        allowed = plain[name].slack(TOLERANCES.tolerance(name, "fp32", "float32") or 0.0)
        assert copying[name].value > plain[name].value + allowed, name


def test_profiles_repeat_to_the_byte(small_model: nn.Module) -> None:
    first, second = (memory.profile(small_model, IMAGES).metrics() for _ in range(2))
    assert first == second


def test_the_profiler_prints_nothing_of_its_own(
    small_model: nn.Module, capfd: pytest.CaptureFixture[str]
) -> None:
    memory.profile(small_model, IMAGES)
    assert capfd.readouterr() == ("", "")


def test_the_table_has_the_studys_columns_and_ten_rows(small_model: nn.Module) -> None:
    lines = operators.table(memory.profile(small_model, IMAGES).rows).splitlines()
    assert len(lines) == 11
    assert lines[0].split("  ")[0] == "Name"
    assert all(heading in lines[0] for heading in ("CPU Mem", "Self CPU Mem", "# of Calls"))
    assert lines[1].startswith("aten::empty")


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 b"), (512, "512 b"), (3072, "3.00 Kb"), (-115200, "-112.50 Kb"), (2**21, "2.00 Mb")],
)
def test_bytes_are_shown_as_the_profiler_does(size: int, shown: str) -> None:
    assert operators.readable(size) == shown
