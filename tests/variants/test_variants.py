"""Every variant of torch's own kernels, through its artifact: built, stored, loaded, run."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qmodels import variants
from qmodels.backends import dispatch, torch_engine
from qmodels.measure import kernels, memory
from qmodels.network import Network, evaluation, resnet
from qmodels.variants import Artifact, build_worker
from tests import small

# All that torch runs operator by operator; the others are in test_other_runtimes.py.
ALL = (
    "fp32",
    "dynamic-fp16",
    "dynamic-int8",
    "static-int8",
    "static-int8-jit",
    "qat-int8",
    "static-int8-onednn",
    "fx-int8",
    "mixed-int8",
    "weight-int4",
)
# To quantize: their files are tested as fx-int8's and in tests/backends/test_packed.py.
SLOW = ("mixed-int8", "weight-int4")
INT8 = tuple(name for name in ALL if variants.all_variants()[name].arithmetic == "int8")


def test_the_reference_comes_first_then_variants_by_backend_and_those_of_gpus_are_last() -> None:
    reference, *others = variants.all_variants().values()
    assert reference.name == "fp32"
    order = [(variant.on_gpu, variant.backend.name) for variant in others]
    assert order == sorted(order)
    assert {on_gpu for on_gpu, _ in order} == {False, True}


@pytest.mark.parametrize("name", [name for name in ALL if name not in SLOW])
def test_load_gives_the_outputs_of_what_was_saved_bit_for_bit(
    name: str,
    build: Callable[[str], Artifact],
    small_network: Network,
    images: Tensor,
) -> None:
    artifact = build(name)
    quantized = variants.quantize(artifact.variant, small_network)
    quantized = torch_engine.on_engine(artifact.variant.engine, quantized)
    with torch.inference_mode():
        for batch in (images, images[:1]):
            assert torch.equal(quantized(batch), artifact.load()(batch))


@pytest.mark.parametrize("name", ALL)
def test_logits_are_float32_of_any_batch_size(
    name: str, build: Callable[[str], Artifact], images: Tensor
) -> None:
    forward = build(name).load()
    with torch.inference_mode():
        for count in (1, 2, 7):
            logits = forward(images[:count])
            assert logits.shape == (count, 10)
            assert logits.dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in ALL if name != "dynamic-int8"])
def test_an_image_gets_the_same_logits_alone_and_in_a_batch(
    name: str, build: Callable[[str], Artifact], images: Tensor
) -> None:
    """dynamic-int8 is left out: its activation scale is that of the batch, by definition."""
    forward = build(name).load()
    with torch.inference_mode():
        together = forward(images)
        alone = torch.cat([forward(image[None]) for image in images])
    if name in INT8 and name != "mixed-int8":  # integer sums do not depend on their order
        assert torch.equal(together, alone)
    else:
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_accuracy_is_that_of_fp32_within_two_points(
    name: str, build: Callable[[str], Artifact], small_network: Network, small_model: nn.Module
) -> None:
    top1, fp32 = (
        evaluation.accuracy(
            evaluation.predict(forward, small_network.test_images), small_network.labels
        )[0]
        for forward in (build(name).load(), small_model)
    )
    assert fp32 == pytest.approx(small.TOP1, abs=0.2)  # of an image
    assert top1 > fp32 - 2


@pytest.mark.parametrize("name", ALL)
def test_a_profile_shows_the_kernels(name: str, build: Callable[[str], Artifact]) -> None:
    artifact = build(name)
    profiled = memory.profile(artifact.load(), resnet.random_images(1))
    ran = {row.name for row in profiled.rows}
    claimed = {kernel for kernels in artifact.variant.kernels.values() for kernel in kernels}
    if name == "static-int8-onednn":
        claimed.discard("quantized::conv2d")  # it fuses every ReLU
    assert claimed <= ran
    if artifact.variant.int8_share == 1:
        assert "aten::convolution" not in ran


@pytest.mark.parametrize("name", INT8)
def test_int8_variants_are_what_they_claim(
    name: str, build: Callable[[str], Artifact], small_network: Network, small_model: nn.Module
) -> None:
    artifact = build(name)
    forward, images = artifact.load(), small_network.reference_images
    whole = sum(kernel.macs for kernel in dispatch.kernels(small_model, images[:1]))
    ran = artifact.variant.backend.kernels(forward, artifact, images[:1])
    with torch.inference_mode():
        logits, fp32 = forward(images), small_model(images)
    shown = kernels.report(ran, whole, logits, artifact.reference_logits(), fp32)
    assert kernels.check(artifact.variant, shown) is None
    assert shown.int8_fraction <= 1
    assert sum(kernel.macs for kernel in ran) == whole
    assert (artifact.folder / build_worker.REFERENCE_FILE).stat().st_size > 1000


def test_onednn_fuses_residual_sums(build: Callable[[str], Artifact]) -> None:
    forward = build("static-int8-onednn").load()
    before = torch.backends.quantized.engine
    rows = {row.name: row.calls for row in memory.profile(forward, resnet.random_images(1)).rows}
    assert rows["quantized::conv2d_add_relu"] == len(small.BLOCKS)
    assert "quantized::add_relu" not in rows
    assert torch.backends.quantized.engine == before


def test_four_bits_are_a_seventh_of_the_bytes(digits_network: Network) -> None:
    """The first and the last layer keep eight bits. Biases and scales are the rest at width 8."""
    int4, fp32 = (
        variants.build(variants.all_variants()[name], digits_network).size_bytes
        for name in ("weight-int4", "fp32")
    )
    assert int4 < fp32 / 6.5
