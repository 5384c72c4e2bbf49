"""Variants of runtimes beside torch's own kernels: built in a process of their own, stored, run."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qmodels import variants
from qmodels.backends import dispatch, onednn_log
from qmodels.data import Dataset
from qmodels.measure import kernels
from qmodels.network import evaluation
from qmodels.network.fusion import fuse
from qmodels.network.precision import InPrecision
from qmodels.quantize import fake_quantize
from qmodels.system import machine
from qmodels.variants import Artifact
from tests import small

# The others take as long to build: what is theirs alone is tested on small networks in
# tests/backends, and the benches build them whole.
NAMES = ("pt2e-int8", "onnx-int8", "openvino-int8")


@pytest.mark.parametrize("name", NAMES)
def test_every_runtime_is_right_and_proves_its_kernels(
    name: str,
    build: Callable[[str], Artifact],
    digits: Dataset,
    small_model: nn.Module,
) -> None:
    artifact = build(name)
    forward, images = artifact.load(), digits.normalize(digits.test.first(100).images)
    with torch.inference_mode():
        logits, fp32 = forward(images), small_model(images)
        assert logits.dtype == torch.float32
        for count in (1, 2, 7):
            some = forward(images[:count])
            assert some.shape == (count, 10)
            assert evaluation.sqnr_db(some, logits[:count]) > 35
    whole = sum(kernel.macs for kernel in dispatch.kernels(small_model, images[:1]))
    ran = artifact.variant.backend.kernels(forward, artifact, images[:1])
    assert sum(kernel.macs for kernel in ran) == whole
    shown = kernels.report(ran, whole, logits, artifact.reference_logits(), fp32)
    assert kernels.check(artifact.variant, shown) is None
    assert shown.int8_fraction == artifact.variant.int8_share
    assert evaluation.sqnr_db(logits, fp32) > 15
    accuracy, _ = evaluation.accuracy(
        evaluation.predict(forward, digits.normalized(digits.test.images)), digits.test.labels
    )
    assert accuracy > small.TOP1 - 2


def test_int8_weights_are_laid_out_for_any_number_of_images(
    build: Callable[[str], Artifact], digits: Dataset
) -> None:
    """Without `weight_layout`, processors with AMX reorder weights of this network in a forward."""
    artifact = build("pt2e-int8")
    forward = artifact.load()
    for count in (1, 8):
        images = digits.normalize(digits.test.first(count).images)
        with torch.inference_mode():
            forward(images)
            ran = onednn_log.primitives(onednn_log.logged(partial(forward, images)))
        assert {each.operation.split()[0] for each in ran} == {"convolution", "matmul"}


def test_the_trained_ranges_reach_the_exported_graph(digits: Dataset) -> None:
    pytest.importorskip("torchao")
    source = small.fake_quantized()
    ranges = fake_quantize.ranges(source)
    images = digits.normalize(digits.test.first(100).images)
    exported = variants.all_variants()["pt2e-qat-int8"].quantize(source, images[:2])
    nodes = [node for node in exported.many.graph.nodes if "quantize_per" in str(node.target)]
    scales = {node.args[1] for node in nodes if "quantize_per_tensor" in str(node.target)}
    trained = {float(scale) for name, (scale, _) in ranges.items() if "weight" not in name}
    assert len(scales) >= small.LAYERS
    assert scales <= trained
    with torch.inference_mode():
        rounded, expected = exported.eager(images), source(images)
    assert evaluation.sqnr_db(rounded, expected) > 20


ALONE = """
import sys
import torch
from pathlib import Path
from qmodels import data, variants
from qmodels.variants import Artifact

torch.set_num_threads(1)
images = data.load("digits").normalize(data.load("digits").test.images[:100])
for argument in sys.argv[2:]:
    name, folder = argument.split("=")
    forward = Artifact(variants.all_variants()[name], Path(folder)).load()
    with torch.inference_mode():
        logits = forward(images)
    torch.save(logits, Path(sys.argv[1], name))
"""


def logits_of(order: list[str], folders: dict[str, Path], scratch: Path) -> dict[str, Tensor]:
    """Logits of variants that a fresh process loads and runs one after another."""
    scratch.mkdir()
    arguments = [f"{name}={folders[name]}" for name in order]
    command = [sys.executable, "-c", ALONE, str(scratch), *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    return {name: torch.load(scratch / name, weights_only=True) for name in order}


def test_no_engine_changes_what_another_computes(
    build: Callable[[str], Artifact], tmp_path: Path
) -> None:
    """In both orders within one process, and the first of each order alone."""
    names = ["fp32", "onnx-int8", "static-int8-onednn", "openvino-int8", "static-int8", "pt2e-int8"]
    known = variants.all_variants()
    names = [name for name in names if known[name].unavailable_reason() is None]
    folders = {name: build(name).folder for name in names}
    once = logits_of(names, folders, tmp_path / "one")
    again = logits_of(names[::-1], folders, tmp_path / "other")
    assert {name: torch.equal(once[name], again[name]) for name in names} == dict.fromkeys(
        names, True
    )


def test_bfloat16_stays_close_to_float32(digits: Dataset, small_model: nn.Module) -> None:
    exported = InPrecision(fuse(small_model), torch.bfloat16).eval()
    images = digits.normalize(digits.test.first(100).images)
    with torch.inference_mode():
        logits = exported(images)
        assert logits.dtype == torch.float32
        assert 25 < evaluation.sqnr_db(logits, small_model(images)) < 80


def test_bfloat16_needs_a_processor_that_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset({"avx2"}))
    obstacle = variants.all_variants()["bf16"].obstacle()
    assert obstacle is not None
    assert "no bfloat16 instructions" in obstacle.reason
    assert not obstacle.fixable
