"""The study's own figures, at its width: sizes, operator counts, allocations."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qmodels import variants
from qmodels.backends import eager, torchscript
from qmodels.backends.base import ForwardFn
from qmodels.measure import memory, operators, timing
from qmodels.network import resnet
from qmodels.variants import static
from tests.eager import needs_eager_quantization

CONVOLUTION = (
    "aten::conv2d",
    "aten::convolution",
    "aten::batch_norm",
    "aten::native_batch_norm",
)


def rows(forward: ForwardFn, images: Tensor) -> dict[str, operators.Row]:
    with timing.timing_environment(1):
        return {row.name: row for row in memory.profile(forward, images).rows}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The study's network: a folder with its files, and what the profiler says of its variants."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("needs fbgemm, the study's engine")
    torch.manual_seed(0)
    model = resnet.build("resnet34", 64, 100).eval()
    image = resnet.random_images(1)
    known = variants.all_variants()
    folder = tmp_path_factory.mktemp("study")
    eager.BACKEND.save(model, folder)
    fbgemm = torchscript.BACKEND.on("fbgemm")
    script = static.freeze(static.quantize(model, resnet.random_images(8), fbgemm), image, fbgemm)
    (folder / "int8").mkdir()
    fbgemm.save(script, folder / "int8")
    dynamic = {
        name: rows(known[name].quantize(model), image) for name in ("dynamic-fp16", "dynamic-int8")
    }
    return folder, {"fp32": rows(model, image), "int8": rows(script, image), **dynamic}


@needs_eager_quantization
def test_the_studys_sizes_and_counts_at_width_64(study: tuple[Path, dict[str, Any]]) -> None:
    """Sizes within 0.5 %, operator counts to the unit."""
    folder, profiled = study
    assert (folder / "model.safetensors").stat().st_size == pytest.approx(85.5e6, rel=0.005)
    assert (folder / "int8" / "model.pt").stat().st_size == pytest.approx(21.6e6, rel=0.005)
    empty = {name: table["aten::empty"].calls for name, table in profiled.items()}
    assert empty == {"fp32": 288, "dynamic-fp16": 289, "dynamic-int8": 290, "int8": 38}
    fp32, int8 = profiled["fp32"], profiled["int8"]
    for name in CONVOLUTION:
        assert fp32[name].calls == 36
    assert fp32["aten::add"].calls == 16
    assert int8["aten::_empty_affine_quantized"].calls == 55
    assert int8["quantized::conv2d_relu"].calls == 17
    assert int8["quantized::conv2d"].calls == 19
    assert int8["aten::quantize_per_tensor"].calls == 1


@needs_eager_quantization
def test_the_studys_allocations_at_width_64(study: tuple[Path, dict[str, Any]]) -> None:
    """To the printed digits."""
    thousand = rows(lambda images: [torch.empty(1000) for _ in range(1000)][-1], torch.empty(0))
    if thousand["aten::empty"].cpu_bytes != 1000 * 4000:
        pytest.skip(f"torch {torch.__version__} loses allocations: not all are of an operator")
    _, profiled = study
    fp32, int8 = profiled["fp32"], profiled["int8"]
    for name in CONVOLUTION:
        assert operators.readable(fp32[name].cpu_bytes) == "3.91 Mb"
    assert operators.readable(fp32["aten::add"].cpu_bytes) == "1.72 Mb"
    assert fp32["aten::empty"].cpu_bytes == pytest.approx(14.19 * 2**20, rel=0.03)
    quantized = int8["aten::_empty_affine_quantized"]
    assert operators.readable(quantized.cpu_bytes) == "1.41 Mb"
    assert int8["aten::empty"].cpu_bytes == pytest.approx(3.84 * 2**20, rel=0.03)
    assert operators.readable(int8["quantized::conv2d_relu"].cpu_bytes) == "501.00 Kb"
    assert operators.readable(int8["aten::quantize_per_tensor"].cpu_bytes) == "3.00 Kb"
