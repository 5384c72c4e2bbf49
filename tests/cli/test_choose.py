from pathlib import Path

import pytest

from tests.cli.conftest import Qmodels, WriteRun
from tests.cli.test_report import STORED


@pytest.mark.parametrize(("margin", "status"), [("0.5", 0), ("-1", 1), ("0", 3)])
def test_the_exit_status_says_whether_a_variant_meets_the_margin(
    qmodels: Qmodels, margin: str, status: int
) -> None:
    result = qmodels(f"choose {STORED} --max-drop={margin}")
    assert result.status == status, result.err
    about, file, _, verdict, *_ = result.out.splitlines()
    assert about == "cifar100-resnet34-w64, linux-x86_64-avx512_bf16, torch 2.15.0"
    assert file.endswith("linux-x86_64-avx512_bf16/cifar100-resnet34-w64.json")
    assert verdict.startswith(("recommended: ", "none: ", "undecided: ")[(0, 1, 3).index(status)])
    assert max(map(len, result.out.splitlines())) <= 100


@pytest.mark.parametrize("stored", [str(STORED), "cifar100-resnet34-w64"])
def test_a_stored_run_says_what_it_did_not_measure(qmodels: Qmodels, stored: str) -> None:
    said = " ".join(qmodels(f"choose {stored}").out.split())
    assert (
        "not measured: cuda-fp32, cuda-fp16, cuda-bf16, tensorrt-int8, cuda-int8: no NVIDIA" in said
    )


def test_options_change_the_choice(qmodels: Qmodels) -> None:
    recommended = {
        options: qmodels(f"choose {STORED} {options}").out.splitlines()[3]
        for options in ("", "--runtime openvino", "--prefer memory", "--max-drop 0.02")
    }
    assert len(set(recommended.values())) == len(recommended), recommended
    assert "recommended: openvino-int8, the fastest" in recommended["--runtime openvino"]
    assert "the speed of fp32 with 8 images (" in qmodels(f"choose {STORED} --batch-size 8").out


def test_what_cannot_be_chosen_from_is_one_line(
    qmodels: Qmodels, write_run: WriteRun, tmp_path: Path
) -> None:
    sizes = write_run("sizes.json", size_bytes=1e6)
    for line, status, error in (
        (f"choose {sizes}", 3, "no recommendation: no variant but fp32 has accuracy and latency"),
        (f"choose {STORED} --runtime tvm", 2, "--runtime tvm: no variant of the run has it"),
        (f"choose {STORED} --max-drop nan", 2, "margin nan: choose a number of points"),
        (f"choose {tmp_path / 'gone.json'}", 2, "does not exist"),
    ):
        result = qmodels(line)
        assert (result.status, result.out) == (status, "")
        assert error in result.err
        assert len(result.err.splitlines()) == 1
