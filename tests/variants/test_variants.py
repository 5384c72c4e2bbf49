"""Every variant, through its artifact: built, stored, loaded, run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qmodels import (
    checkpoints,
    data,
    evaluation,
    fake_quantize,
    machine,
    resnet,
    store,
    training,
    variants,
)
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import Unavailable, UserError
from qmodels.measure import memory, stopwatch
from qmodels.resnet import Resnet34
from qmodels.variants import Artifact, Runnable, registry, static
from qmodels.variants.formats import WEIGHTS, Structure

STUDY = ("fp32", "dynamic-fp16", "dynamic-int8", "static-int8", "static-int8-jit")
ALL = (*STUDY, "qat-int8")


@pytest.fixture(scope="session")
def build(digits: Dataset, digits_checkpoint: Checkpoint) -> Callable[[str], Artifact]:
    def built(name: str) -> Artifact:
        variant = variants.all_variants()[name]
        if variant.missing():
            pytest.skip(str(variant.missing()))
        return variants.build(variant, digits_checkpoint, digits)

    return built


@pytest.fixture(scope="session")
def images(digits: Dataset) -> Tensor:
    return digits.normalize(digits.test.images[:24])


def test_the_studys_five_models_come_first_and_in_its_order() -> None:
    assert tuple(variants.all_variants())[:5] == STUDY


@pytest.mark.parametrize("name", ALL)
def test_load_gives_the_outputs_of_what_was_saved_bit_for_bit(
    name: str,
    build: Callable[[str], Artifact],
    digits: Dataset,
    digits_checkpoint: Checkpoint,
    images: Tensor,
) -> None:
    artifact = build(name)
    calibration = digits.normalize(data.stratified_subset(digits.train, 1000).images)
    source = digits_checkpoint
    if artifact.variant.quantization_aware:
        source = training.find_or_fine_tune(source, digits)
    made = artifact.variant.quantize(checkpoints.load_model(source), calibration)
    with torch.inference_mode():
        for batch in (images, images[:1]):
            assert torch.equal(made(batch), artifact.load()(batch))


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


@pytest.mark.parametrize(
    "name", ["fp32", "dynamic-fp16", "static-int8", "static-int8-jit", "qat-int8"]
)
def test_an_image_gets_the_same_logits_alone_and_in_a_batch(
    name: str, build: Callable[[str], Artifact], images: Tensor
) -> None:
    """dynamic-int8 is left out: its activation scale is that of the batch, by definition."""
    forward = build(name).load()
    with torch.inference_mode():
        together = forward(images)
        alone = torch.cat([forward(image[None]) for image in images])
    if name.startswith(("static", "qat")):  # integer sums do not depend on their order
        assert torch.equal(together, alone)
    else:
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_accuracy_is_that_of_fp32_within_two_points(
    name: str, build: Callable[[str], Artifact], digits: Dataset, digits_checkpoint: Checkpoint
) -> None:
    logits = evaluation.predict(build(name).load(), digits, digits.test.images)
    assert evaluation.accuracy(logits, digits.test)[0] > digits_checkpoint.top1 - 2


@pytest.mark.parametrize("name", ALL)
def test_a_profile_shows_the_kernels(name: str, build: Callable[[str], Artifact]) -> None:
    artifact = build(name)
    profiled = memory.profile(artifact.load(), resnet.random_images(1))
    ran = {row.name for row in profiled.rows}
    assert set(artifact.variant.kernels) <= ran
    if name.startswith(("static", "qat")):
        assert "aten::convolution" not in ran


def test_qat_int8_is_as_small_as_its_static_sibling_and_has_the_same_kernels(
    build: Callable[[str], Artifact],
) -> None:
    static_jit, qat = build("static-int8-jit"), build("qat-int8")
    assert qat.size_bytes == pytest.approx(static_jit.size_bytes, rel=0.01)
    image = resnet.random_images(1)
    calls = [
        {
            row.name: row.calls
            for row in memory.profile(one.load(), image).rows
            if row.name.startswith("quantized::")
        }
        for one in (static_jit, qat)
    ]
    assert calls[0] == calls[1]
    assert sum(calls[0].values()) > 50


def test_qat_int8_has_seven_bit_weights_on_every_machine_class(
    build: Callable[[str], Artifact], digits: Dataset, digits_checkpoint: Checkpoint
) -> None:
    source = checkpoints.load_model(training.find_or_fine_tune(digits_checkpoint, digits))
    converted = fake_quantize.convert(source, machine.quantized_engine())
    levels = torch.cat(
        [m.weight().int_repr().flatten() for m in converted.modules() if hasattr(m, "weight")]
    )
    assert int(levels.min()) >= -64
    assert 60 <= int(levels.max()) <= 63


def test_static_int8_is_a_quarter_of_the_bytes(build: Callable[[str], Artifact]) -> None:
    """Per-channel scales, not weights, keep it from a quarter at width 8."""
    assert build("static-int8").size_bytes < 0.30 * build("fp32").size_bytes
    assert build("dynamic-int8").size_bytes < build("fp32").size_bytes


def test_the_jit_computes_what_eager_does(build: Callable[[str], Artifact], images: Tensor) -> None:
    with torch.inference_mode():
        eager, frozen = (build(name).load()(images) for name in ("static-int8", "static-int8-jit"))
    assert torch.equal(eager, frozen)


@pytest.mark.parametrize("name", ["dynamic-fp16", "dynamic-int8"])
def test_dynamic_quantization_changes_linear_layers_alone(
    name: str, digits_model: Resnet34
) -> None:
    quantized = variants.all_variants()[name].quantize(digits_model, None)
    assert isinstance(quantized, nn.Module)
    before, after = dict(digits_model.named_modules()), dict(quantized.named_modules())
    changed = {path for path, module in before.items() if type(module) is not type(after[path])}
    assert changed == {"head.fc"}
    state = quantized.state_dict()
    for path, value in digits_model.state_dict().items():
        if not path.startswith("head.fc"):
            assert torch.equal(state[path], value)


def test_weights_are_quantized_per_channel_and_activations_by_calibration(
    digits: Dataset, digits_model: Resnet34
) -> None:
    calibration = digits.normalize(data.stratified_subset(digits.train, 100).images)
    quantized = static.quantize(digits_model, calibration, machine.quantized_engine())
    weight = quantized.stem.conv.weight()
    assert weight.qscheme() == torch.per_channel_affine
    assert weight.q_per_channel_scales().unique().numel() > 1
    assert bool((weight.q_per_channel_zero_points() == 0).all())
    scales = {m.scale for m in quantized.modules() if isinstance(getattr(m, "scale", None), float)}
    assert len(scales) > 40  # an uncalibrated activation has scale 1


@pytest.mark.parametrize("saturates", [False, True])
def test_weights_get_seven_bits_where_the_engine_saturates(
    saturates: bool, digits_model: Resnet34, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "int8_saturates", lambda engine: saturates)
    images = resnet.random_images(32)
    quantized = static.quantize(digits_model, images, machine.quantized_engine())
    levels = torch.cat(
        [m.weight().int_repr().flatten() for m in quantized.modules() if hasattr(m, "weight")]
    )
    assert (int(levels.min()), int(levels.max())) == ((-64, 63) if saturates else (-128, 127))
    assert int(quantized.quant(images).int_repr().max()) > 200, "activations keep eight"


@pytest.mark.parametrize("architecture", resnet.ARCHITECTURES)
def test_both_architectures_quantize_statically(architecture: str) -> None:
    torch.manual_seed(0)
    model = resnet.build(architecture, 8, 10).eval()
    x = resnet.random_images(32)
    for module in model.modules():  # random weights, but statistics that fit them
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    model.train()(x)
    model.eval()
    quantized = static.quantize(model, x, machine.quantized_engine())
    with torch.inference_mode():
        expected, got = model(x), quantized(x)
    noise = (got - expected).pow(2).sum() / expected.pow(2).sum()
    sqnr_db = -10 * noise.log10().item()
    assert sqnr_db > 15
    names = {row.name for row in memory.profile(quantized, x[:1]).rows}
    assert not names & {"aten::convolution", "aten::batch_norm", "aten::add"}


@pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="the study's engine"
)
def test_the_studys_figures_at_width_64(tmp_path: Path) -> None:
    """Sizes within 0.5 %, operator counts to the unit, allocations to the printed digits."""
    torch.manual_seed(0)
    model = resnet.build("resnet34", 64, 100).eval()
    image = resnet.random_images(1)
    structure = Structure("resnet34", 64, 100)
    WEIGHTS.save(model, structure, tmp_path)
    script = static.freeze(static.quantize(model, resnet.random_images(8), "fbgemm"), "fbgemm")
    (tmp_path / "int8").mkdir()
    variants.all_variants()["static-int8-jit"].format.save(script, structure, tmp_path / "int8")
    assert (tmp_path / "model.safetensors").stat().st_size == pytest.approx(85.5e6, rel=0.005)
    assert (tmp_path / "int8" / "model.pt").stat().st_size == pytest.approx(21.6e6, rel=0.005)

    def rows(forward: Runnable) -> dict[str, memory.Row]:
        with stopwatch.quiet(1):
            return {row.name: row for row in memory.profile(forward, image).rows}

    fp32, int8 = rows(model), rows(script)
    dynamic_fp16, dynamic_int8 = (
        rows(variants.all_variants()[name].quantize(model, None))
        for name in ("dynamic-fp16", "dynamic-int8")
    )
    assert [one["aten::empty"].calls for one in (fp32, dynamic_fp16, int8)] == [288, 289, 38]
    assert dynamic_int8["aten::empty"].calls == 290
    for name in (
        "aten::conv2d",
        "aten::convolution",
        "aten::batch_norm",
        "aten::native_batch_norm",
    ):
        assert (fp32[name].calls, memory.readable(fp32[name].cpu_bytes)) == (36, "3.91 Mb")
    assert (fp32["aten::add"].calls, memory.readable(fp32["aten::add"].cpu_bytes)) == (
        16,
        "1.72 Mb",
    )
    assert fp32["aten::empty"].cpu_bytes == pytest.approx(14.19 * 2**20, rel=0.03)
    quantized = int8["aten::_empty_affine_quantized"]
    assert (quantized.calls, memory.readable(quantized.cpu_bytes)) == (55, "1.41 Mb")
    assert int8["aten::empty"].cpu_bytes == pytest.approx(3.84 * 2**20, rel=0.03)
    fused = int8["quantized::conv2d_relu"]
    assert (fused.calls, memory.readable(fused.cpu_bytes)) == (17, "501.00 Kb")
    assert int8["quantized::conv2d"].calls == 19
    step = int8["aten::quantize_per_tensor"]
    assert (step.calls, memory.readable(step.cpu_bytes)) == (1, "3.00 Kb")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(3, 32, 32), torch.zeros(1, 1, 32, 32), torch.zeros(1, 3, 32, 32).double()],
    ids=["no batch", "one channel", "float64"],
)
def test_a_batch_of_the_wrong_shape_is_one_line(
    name: str, wrong: Tensor, build: Callable[[str], Artifact]
) -> None:
    with pytest.raises(UserError, match=r"give it \(N, 3, 32, 32\)") as caught:
        build(name).load()(wrong)
    assert "\n" not in str(caught.value)


def test_a_damaged_artifact_is_refused_on_load_and_rebuilt_on_build(
    build: Callable[[str], Artifact],
) -> None:
    artifact = build("fp32")
    path = artifact.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged: delete"):
        artifact.load()
    with pytest.warns(UserWarning, match="building digits-resnet34-w8-fp32 again"):
        assert store.damaged_file(build("fp32").folder) is None


def test_artifacts_of_other_weights_are_other_artifacts(
    digits: Dataset, digits_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    model = checkpoints.load_model(digits_checkpoint)
    model.head.fc.weight.data.mul_(2)
    other = checkpoints.save(
        model.state_dict(), dataclasses.replace(digits_checkpoint, folder=tmp_path)
    )
    fp32 = variants.all_variants()["fp32"]
    assert (
        variants.build(fp32, other, digits).folder
        != variants.build(fp32, digits_checkpoint, digits).folder
    )


def test_select_keeps_the_order_asked_for() -> None:
    chosen = variants.select("static-int8, fp32,static-int8")
    assert [variant.name for variant in chosen] == ["static-int8", "fp32"]


@pytest.mark.parametrize("names", ["fp64", "fp32,int4", "", " , "])
def test_an_unknown_variant_is_refused_with_the_known_ones(names: str) -> None:
    with pytest.raises(UserError, match="fp32, dynamic-fp16"):
        variants.select(names)


def test_a_variant_without_its_runtime_says_what_to_install(
    digits: Dataset, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_VARIANTS", dict(registry._VARIANTS))

    @variants.variant(
        "elsewhere",
        engine="elsewhere",
        summary="runs where a package is that nobody has",
        format=WEIGHTS,
        requires=["a_package_that_nobody_has"],
        extra="elsewhere",
    )
    def elsewhere(model: Resnet34, calibration: Tensor | None) -> Runnable:
        return model

    variant = variants.all_variants()["elsewhere"]
    with pytest.raises(Unavailable, match=r"pip install 'qmodels\[elsewhere\]'"):
        variants.build(variant, digits_checkpoint, digits)
    with pytest.raises(UserError, match="defined twice"):
        variants.variant("elsewhere", engine="x", summary="", format=WEIGHTS)(elsewhere)
