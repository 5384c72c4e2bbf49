from pathlib import Path

import pytest
import torch
from torch import Tensor

from qmodels import variants
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import UserError
from qmodels.gate import read_tolerances
from qmodels.measure import memory
from qmodels.resnet import Resnet34, random_images
from qmodels.variants import Artifact

IMAGES = random_images(1)
TOLERANCES = read_tolerances(Path(__file__).parents[2] / "baselines", variants.all_variants())
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


def test_an_extra_copy_in_the_forward_is_seen(digits_model: Resnet34) -> None:
    plain = memory.profile(digits_model, IMAGES).metrics()
    copying = memory.profile(lambda images: digits_model(images.clone()), IMAGES).metrics()
    for name in ("allocated_bytes", "operator_calls"):
        allowed = plain[name].slack(TOLERANCES.of(name, "fp32") or 0.0)
        assert copying[name].value > plain[name].value + allowed, name


def test_profiles_repeat_to_the_byte(digits_model: Resnet34) -> None:
    first, second = (memory.profile(digits_model, IMAGES).metrics() for _ in range(2))
    assert first == second


def test_the_table_has_the_studys_columns_and_ten_rows(digits_model: Resnet34) -> None:
    lines = memory.table(memory.profile(digits_model, IMAGES)).splitlines()
    assert len(lines) == 11
    assert lines[0].split("  ")[0] == "Name"
    assert all(heading in lines[0] for heading in ("CPU Mem", "Self CPU Mem", "# of Calls"))
    assert lines[1].startswith("aten::empty")


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 b"), (512, "512 b"), (3072, "3.00 Kb"), (-115200, "-112.50 Kb"), (2**21, "2.00 Mb")],
)
def test_bytes_are_shown_as_the_profiler_does(size: int, shown: str) -> None:
    assert memory.readable(size) == shown


def test_resident_memory_is_of_a_process_of_its_own(
    digits: Dataset, digits_checkpoint: Checkpoint
) -> None:
    artifact = variants.build(variants.all_variants()["static-int8"], digits_checkpoint, digits)
    rss = memory.rss(artifact, threads=1)["rss_bytes"].value
    ballast = torch.ones(500_000_000, dtype=torch.uint8)  # in this process, not in that one
    again = memory.rss(artifact, threads=1)["rss_bytes"].value
    assert 50e6 < rss < 3e9
    assert again == pytest.approx(rss, rel=0.1)
    assert int(ballast[0]) == 1


def test_a_process_that_fails_is_one_line(tmp_path: Path) -> None:
    nowhere = Artifact(variants.all_variants()["fp32"], tmp_path / "nowhere")
    with pytest.raises(UserError, match="measure.rss failed.*is damaged") as caught:
        memory.rss(nowhere, threads=1)
    assert "\n" not in str(caught.value)
