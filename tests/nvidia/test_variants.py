"""Variants on an NVIDIA GPU: what of them runs without one, and all of them where there is one."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qmodels import data, variants
from qmodels.backends.base import ForwardFn, Stored
from qmodels.data import Dataset
from qmodels.network import Network, evaluation, resnet
from qmodels.network.fusion import fuse
from qmodels.nvidia import calibration, graphs, integer, integer_network, triton
from qmodels.nvidia.integer_network import IntegerNetwork
from qmodels.nvidia.residual import residual_network
from qmodels.system import machine
from qmodels.system.errors import Unavailable
from qmodels.training import checkpoints, on_demand
from tests.eager import needs_eager_quantization

FLOAT = {
    "cuda-fp32": torch.float32,
    "cuda-fp16": torch.float16,
    "cuda-bf16": torch.bfloat16,
}
ALL = (*FLOAT, "cuda-int8")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(scope="module")
def model(digits: Dataset) -> nn.Module:
    return checkpoints.load_model(on_demand.find_or_train(digits, "resnet34", 8))


@pytest.fixture(scope="module")
def images(digits: Dataset) -> Tensor:
    return digits.normalize(digits.test.images[:300])


@pytest.fixture(scope="module")
def integers(digits: Dataset, model: nn.Module) -> IntegerNetwork:
    calibrating = digits.normalize(data.stratified_subset(digits.train, 500).images)
    quantized = variants.all_variants()["cuda-int8"].quantize(model, calibrating)
    assert isinstance(quantized, IntegerNetwork)
    return quantized


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load onto the CPU, without compiling and without graphs."""
    monkeypatch.setattr("qmodels.nvidia.cuda.DEVICE", torch.device("cpu"))
    monkeypatch.setattr(torch, "compile", lambda forward, **options: forward)
    monkeypatch.setattr(graphs, "as_graphs", lambda forwards: forwards())


def blank() -> nn.Module:
    return resnet.build("resnet34", 8, 10).eval()


def sqnr_db(values: Tensor, reference: Tensor) -> float:
    noise = (values - reference).pow(2).sum() / reference.pow(2).sum()
    return -10 * float(noise.log10())


def logits(forward: nn.Module | ForwardFn, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return forward(images)


def test_the_network_of_integers_is_as_accurate_as_fp32(
    integers: IntegerNetwork, model: nn.Module, digits: Dataset, images: Tensor
) -> None:
    got, expected = logits(integers, images), logits(model, images)
    assert sqnr_db(got, expected) > 30
    labels = digits.test.labels[: len(images)]
    right, right_now = (evaluation.accuracy(logits, labels)[0] for logits in (expected, got))
    assert right - right_now < 2


@needs_eager_quantization
def test_the_network_of_integers_predicts_what_static_int8_does(
    integers: IntegerNetwork, model: nn.Module, digits: Dataset, images: Tensor
) -> None:
    calibrating = digits.normalize(data.stratified_subset(digits.train, 500).images)
    static = variants.all_variants()["static-int8"].quantize(model, calibrating)
    agreed = logits(static, images).argmax(1) == logits(integers, images).argmax(1)
    assert agreed.float().mean() > 0.99


def test_zero_points_are_worth_a_decibel(
    model: nn.Module, digits: Dataset, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What leaves a ReLU has no negative half to spend integers on."""
    calibrating = digits.normalize(data.stratified_subset(digits.train, 100).images)
    fused, some = residual_network(fuse(model)), images[:50]
    expected = logits(model, some)
    affine = sqnr_db(logits(integer_network.quantize(fused, calibrating), some), expected)
    scales = calibration.scales
    monkeypatch.setattr(
        calibration, "scales", lambda *given, symmetric: scales(*given, symmetric=True)
    )
    symmetric = sqnr_db(logits(integer_network.quantize(fused, calibrating), some), expected)
    assert affine > symmetric + 1


def test_quantizing_leaves_the_model_as_it_was(model: nn.Module, images: Tensor) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name in ALL:
        variant = variants.all_variants()[name]
        variant.quantize(model, **dict.fromkeys(variant.takes, images[:8]))
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_an_image_gets_the_same_integers_alone_and_in_a_batch(
    integers: IntegerNetwork, images: Tensor
) -> None:
    together = logits(integers, images[:7])
    alone = torch.cat([logits(integers, image[None]) for image in images[:7]])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", FLOAT)
def test_on_disk_are_the_fused_weights_in_their_precision(
    name: str, model: nn.Module, images: Tensor, save: Callable[..., Stored], on_the_cpu: None
) -> None:
    variant = variants.all_variants()[name]
    quantized = variant.quantize(model)
    files = save(variant.backend, quantized, lambda: variant.modules(blank()))
    size = (files.folder / "model.safetensors").stat().st_size
    parameters = sum(parameter.numel() for parameter in fuse(model).parameters())
    assert size == pytest.approx(parameters * FLOAT[name].itemsize, rel=0.1)
    loaded = variant.backend.load(files)
    got = logits(loaded, images[:4])
    assert got.dtype == torch.float32
    assert torch.equal(got, logits(quantized, images[:4]))
    assert sqnr_db(got, logits(model, images[:4])) > {4: 90, 2: 30}[FLOAT[name].itemsize]
    ran = variant.backend.kernels(loaded, files, images[:1])
    assert len(ran) == 37
    assert not any(kernel.int8 for kernel in ran)


def test_integers_are_a_quarter_on_disk_and_load_to_the_bit(
    integers: IntegerNetwork, model: nn.Module, images: Tensor, save: Callable[..., Stored]
) -> None:
    variant = variants.all_variants()["cuda-int8"]
    files = save(variant.backend, integers, lambda: variant.modules(blank()))
    size = (files.folder / "model.safetensors").stat().st_size
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert size < 0.35 * 4 * weights  # at width 8, scales and names of tensors weigh
    loaded = triton.restore(files)
    assert torch.equal(logits(loaded, images[:4]), logits(integers, images[:4]))
    assert torch.equal(
        logits(variant.backend.reference(integers), images[:4]), logits(loaded, images[:4])
    )


def test_all_but_the_linear_layer_is_launched_in_int8(
    integers: IntegerNetwork, model: nn.Module, images: Tensor
) -> None:
    ran = triton.list_launches(integers, integer.EXACT, images[:1])
    integers.arithmetic = integer.EXACT
    from qmodels.backends import dispatch

    expected = dispatch.kernels(model, images[:1])
    assert sorted(kernel.macs for kernel in ran) == sorted(kernel.macs for kernel in expected)
    share = sum(kernel.macs for kernel in ran if kernel.int8) / sum(
        kernel.macs for kernel in expected
    )
    assert variants.all_variants()["cuda-int8"].int8_share <= share < 1
    assert {kernel.layer for kernel in ran} >= {
        "stem",
        "blocks.3.shortcut",
        "blocks.15.conv2",
        "head",
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": None}, "built without CUDA: install one"),
        ({"version": None, "driver": None}, "no NVIDIA GPU: run it on a machine with one"),
        ({"gpu": None}, "no NVIDIA GPU: run it on a machine with one"),
        ({"capability": (7, 5)}, "cuda-sm75 is too old: run it on compute capability 8.0"),
        ({"compiler": None}, "no C compiler: apt-get install gcc"),
        ({}, None),
    ],
)
def test_what_is_missing_is_one_line_with_the_remedy(
    changes: dict[str, object], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: dict[str, object] = {"version": "13.0", "gpu": "cuda-sm90", "capability": (9, 0)}
    here |= {"compiler": "cc", "driver": "nvidia-smi", **changes}
    if here["gpu"] and here["capability"] == (7, 5):
        here["gpu"] = "cuda-sm75"
    monkeypatch.setattr(torch.version, "cuda", here["version"])
    monkeypatch.setattr(machine, "gpu_class", lambda: here["gpu"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: here["capability"])
    monkeypatch.setattr(
        shutil,
        "which",
        lambda name: here["driver" if name == "nvidia-smi" else "compiler"],
    )
    for name in FLOAT:
        obstacle = variants.all_variants()[name].obstacle()
        if reason is None:
            assert obstacle is None
            continue
        assert obstacle is not None
        assert reason in obstacle.reason
        assert "\n" not in obstacle.reason
        assert obstacle.fixable == ("install" in obstacle.reason)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without an NVIDIA GPU")
@pytest.mark.parametrize("name", [*ALL, "tensorrt-int8"])
def test_without_a_gpu_a_build_is_refused(name: str, digits_network: Network) -> None:
    with pytest.raises(Unavailable, match=f"{name}: .*(no NVIDIA GPU|built without CUDA)"):
        variants.build(variants.all_variants()[name], digits_network)


def test_artifacts_of_a_gpu_are_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu_class", lambda: "cuda-sm90")
    classes = {
        name: variant.backend.machine_class() for name, variant in variants.all_variants().items()
    }
    assert {name for name, machine_class in classes.items() if machine_class == "cuda-sm90"} == {
        *ALL,
        "tensorrt-int8",
    }
    assert classes["static-int8"] == machine.machine_class()
    monkeypatch.setattr(machine, "gpu_class", lambda: None)
    assert "without" in triton.BACKEND.machine_class()


def test_listing_variants_imports_neither_triton_nor_tensorrt() -> None:
    script = (
        "import sys; from qmodels import variants; variants.all_variants();"
        "print([name for name in ('triton', 'tensorrt', 'onnx') if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(Path(integer.__file__).parents[2])}
    child = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert child.stdout.strip() == "[]", child.stderr


@CUDA
@pytest.mark.parametrize("name", ALL)
def test_on_a_gpu_artifacts_give_logits_of_any_batch_size(
    name: str, digits_network: Network, model: nn.Module, images: Tensor
) -> None:
    variant = variants.all_variants()[name]
    if variant.unavailable_reason():
        pytest.skip(str(variant.unavailable_reason()))
    artifact = variants.build(variant, digits_network)
    forward, expected = artifact.load(), logits(model, images)
    least = {"cuda-fp32": 90, "cuda-int8": 30}.get(name, 25)
    for count in (1, 8, 250, 3):
        got = forward(images[:count])
        assert got.device == images.device
        assert sqnr_db(got, expected[:count]) > least
        there = forward(images[:count].cuda())
        assert there.is_cuda
        kept = there.clone()
        forward(images[:count].flip(0))
        assert torch.equal(there, kept), "a later forward must not write into what it gave"
    ran = variant.backend.kernels(forward, artifact, images[:1])
    share = sum(kernel.macs for kernel in ran if kernel.int8) / sum(kernel.macs for kernel in ran)
    assert share >= variant.int8_share


@CUDA
def test_on_a_gpu_integers_are_those_of_the_reference(
    integers: IntegerNetwork, images: Tensor, save: Callable[..., Stored]
) -> None:
    """To the last bit before the linear layer, whose float32 sums have another order."""
    variant = variants.all_variants()["cuda-int8"]
    forward = variant.backend.load(
        save(variant.backend, integers, lambda: variant.modules(blank()))
    )
    torch.testing.assert_close(
        forward(images[:64]), logits(integers, images[:64]), rtol=1e-5, atol=1e-4
    )
