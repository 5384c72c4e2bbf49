"""Every variant, through its artifact: built, stored, loaded, run."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels import (
    checkpoints,
    data,
    engines,
    evaluation,
    fake_quantize,
    machine,
    obstacles,
    resnet,
    store,
    torch_ao,
    training,
    variants,
)
from qmodels.checkpoints import Checkpoint
from qmodels.data import Dataset
from qmodels.errors import Unavailable, UserError
from qmodels.measure import kernels, memory, stopwatch
from qmodels.obstacles import Obstacle
from qmodels.resnet import Resnet34
from qmodels.runtimes import dispatch
from qmodels.runtimes.eager import WEIGHTS
from qmodels.runtimes.format import Format, Structure
from qmodels.variants import Artifact, Runnable, artifact, making, registry, static, weight_only

STUDY = ("fp32", "dynamic-fp16", "dynamic-int8", "static-int8", "static-int8-jit")
# All that torch runs operator by operator; the others are in test_other_runtimes.py.
ALL = (
    *STUDY,
    "qat-int8",
    "static-int8-onednn",
    "fx-int8",
    "mixed-int8",
    "weight-int4",
)
# To quantize: their files are tested as fx-int8's and in tests/runtimes/test_packed.py.
SLOW = ("mixed-int8", "weight-int4")
INT8 = tuple(name for name in ALL if variants.all_variants()[name].arithmetic == "int8")


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


@pytest.mark.parametrize("name", [name for name in ALL if name not in SLOW])
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
    made = torch_ao.on_engine(artifact.variant.engine, made)
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
    if artifact.variant.int8_share == 1:
        assert "aten::convolution" not in ran


@pytest.mark.parametrize("name", INT8)
def test_int8_variants_are_what_they_claim(
    name: str, build: Callable[[str], Artifact], digits: Dataset, digits_model: Resnet34
) -> None:
    artifact = build(name)
    forward, images = artifact.load(), making.reference_images(digits)
    whole = sum(kernel.macs for kernel in dispatch.kernels(digits_model, images[:1]))
    ran = artifact.variant.format.kernels(forward, artifact.folder, images[:1])
    with torch.inference_mode():
        logits, fp32 = forward(images), digits_model(images)
    shown = kernels.proof(ran, whole, logits, artifact.reference_logits(), fp32)
    assert kernels.doubt(artifact.variant, shown) is None
    assert shown.int8_fraction <= 1
    assert sum(kernel.macs for kernel in ran) == whole
    assert (artifact.folder / making.REFERENCE_FILE).stat().st_size > 1000


def test_onednn_fuses_residual_sums(build: Callable[[str], Artifact]) -> None:
    forward = build("static-int8-onednn").load()
    before = torch.backends.quantized.engine
    rows = {row.name: row.calls for row in memory.profile(forward, resnet.random_images(1)).rows}
    assert rows["quantized::conv2d_add_relu"] == 16
    assert "quantized::add_relu" not in rows
    assert torch.backends.quantized.engine == before


def test_four_bits_are_a_seventh_of_the_bytes(build: Callable[[str], Artifact]) -> None:
    """Of eight, and the ends have eight bits; biases and scales are the rest at width 8."""
    assert build("weight-int4").size_bytes < build("fp32").size_bytes / 6.5


def test_rounding_for_the_inputs_is_better_than_to_the_nearest(
    digits: Dataset, digits_model: Resnet34
) -> None:
    weight = digits_model.stages[0][0].conv2.weight
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(10, weight[0].numel(), generator=generator)
    inputs = torch.randn(500, 10, generator=generator) @ mixing  # that go together
    levels, scales = weight_only.rounded(weight, inputs.T @ inputs, 4)
    rows, step = weight.detach().flatten(1), scales.float()[:, None]
    nearest = (rows / step).round().clamp(-8, 7)
    errors = [
        float((inputs @ (some * step - rows).T).norm()) for some in (levels.flatten(1), nearest)
    ]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.skipif(
    not {"avx512_vnni", "avx_vnni"} & machine.cpu_flags(),
    reason="needs VNNI, to compare with the same processor without",
)
def test_a_variant_that_saturates_is_caught(digits_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """On the same processor without VNNI, weights of eight bits overflow."""
    script = f"""
        import torch
        from pathlib import Path
        from safetensors.torch import load_file
        from qmodels import checkpoints, data, engines, variants
        from qmodels.measure import kernels
        from qmodels.variants import making

        folder = Path({str(tmp_path)!r})
        digits, checkpoint = data.load("digits"), checkpoints.named({str(digits_checkpoint.path)!r})
        variant = variants.all_variants()["static-int8-onednn"]
        torch.backends.quantized.engine = "onednn"
        images = making.reference_images(digits)

        def doubt():
            making.make(variant, checkpoint, digits, digits.train.images[:300], folder)
            forward = variant.format.load(folder, None)
            with torch.inference_mode():
                logits, fp32 = forward(images), checkpoints.load_model(checkpoint)(images)
            reference = load_file(folder / making.REFERENCE_FILE)["logits"]
            ran = variant.format.kernels(forward, folder, images[:1])
            whole = sum(kernel.macs for kernel in ran)
            return kernels.doubt(variant, kernels.proof(ran, whole, logits, reference, fp32))

        print("guarded:", doubt())
        engines.weight_range = lambda engine: (-128, 127)
        print("unguarded:", doubt())
    """
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(Path.cwd())}
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    guarded, unguarded = child.stdout.splitlines()
    assert guarded == "guarded: None"
    assert "they saturate" in unguarded


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"machine_class": "linux-x86_64-avx2"}, "was made on linux-x86_64-avx2, and this is"),
        ({"versions": {"torch": "2.0.0"}}, "was made with torch 2.0.0, and"),
        (
            {"cpu_flags": ["an_instruction", "another"]},
            "is code for a processor with an_instruction, another, which this one lacks",
        ),
    ],
)
def test_an_artifact_of_elsewhere_is_refused(
    changed: dict[str, Any], said: str, build: Callable[[str], Artifact], tmp_path: Path
) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(build("fp32").folder, folder)
    manifest = json.loads((folder / store.MANIFEST).read_text())
    manifest["inputs"] |= changed
    (folder / store.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=said) as caught:
        Artifact(build("fp32").variant, folder).load()
    assert "build it again" in str(caught.value)


def test_an_artifact_without_the_guard_is_refused_where_it_would_saturate(
    build: Callable[[str], Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = build("static-int8")
    manifest = json.loads((artifact.folder / store.MANIFEST).read_text())
    if manifest["inputs"]["saturates"]:
        pytest.skip("this machine saturates, so it has the guard")
    monkeypatch.setattr(engines, "ask", lambda engine, modules: engines.Verdict(None, True))
    with pytest.raises(UserError, match="has weights of eight bits, and x86 saturates here"):
        artifact.load()


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


CONVOLUTION = (
    "aten::conv2d",
    "aten::convolution",
    "aten::batch_norm",
    "aten::native_batch_norm",
)


def rows(forward: Runnable, images: Tensor) -> dict[str, memory.Row]:
    with stopwatch.quiet(1):
        return {row.name: row for row in memory.profile(forward, images).rows}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The study's network: a folder with its files, and what the profiler says of its variants."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("needs fbgemm, the study's engine")
    torch.manual_seed(0)
    model = resnet.build("resnet34", 64, 100).eval()
    image = resnet.random_images(1)
    structure = Structure("resnet34", 64, 100)
    known = variants.all_variants()
    folder = tmp_path_factory.mktemp("study")
    WEIGHTS.save(model, structure, folder)
    script = static.freeze(static.quantize(model, resnet.random_images(8), "fbgemm"), "fbgemm")
    (folder / "int8").mkdir()
    known["static-int8-jit"].format.save(script, structure, folder / "int8")
    dynamic = {
        name: rows(known[name].quantize(model, None), image)
        for name in ("dynamic-fp16", "dynamic-int8")
    }
    return folder, {"fp32": rows(model, image), "int8": rows(script, image), **dynamic}


def test_the_studys_sizes_and_counts_at_width_64(study: tuple[Path, dict[str, Any]]) -> None:
    """Sizes within 0.5 %, operator counts to the unit."""
    folder, profiled = study
    assert (folder / "model.safetensors").stat().st_size == pytest.approx(85.5e6, rel=0.005)
    assert (folder / "int8" / "model.pt").stat().st_size == pytest.approx(21.6e6, rel=0.005)
    empty = {name: one["aten::empty"].calls for name, one in profiled.items()}
    assert empty == {"fp32": 288, "dynamic-fp16": 289, "dynamic-int8": 290, "int8": 38}
    fp32, int8 = profiled["fp32"], profiled["int8"]
    for name in CONVOLUTION:
        assert fp32[name].calls == 36
    assert fp32["aten::add"].calls == 16
    assert int8["aten::_empty_affine_quantized"].calls == 55
    assert int8["quantized::conv2d_relu"].calls == 17
    assert int8["quantized::conv2d"].calls == 19
    assert int8["aten::quantize_per_tensor"].calls == 1


def test_the_studys_allocations_at_width_64(study: tuple[Path, dict[str, Any]]) -> None:
    """To the printed digits."""
    thousand = rows(lambda images: [torch.empty(1000) for _ in range(1000)], torch.empty(0))
    if thousand["aten::empty"].cpu_bytes != 1000 * 4000:
        pytest.skip(f"torch {torch.__version__} loses allocations: not all are of an operator")
    _, profiled = study
    fp32, int8 = profiled["fp32"], profiled["int8"]
    for name in CONVOLUTION:
        assert memory.readable(fp32[name].cpu_bytes) == "3.91 Mb"
    assert memory.readable(fp32["aten::add"].cpu_bytes) == "1.72 Mb"
    assert fp32["aten::empty"].cpu_bytes == pytest.approx(14.19 * 2**20, rel=0.03)
    quantized = int8["aten::_empty_affine_quantized"]
    assert memory.readable(quantized.cpu_bytes) == "1.41 Mb"
    assert int8["aten::empty"].cpu_bytes == pytest.approx(3.84 * 2**20, rel=0.03)
    assert memory.readable(int8["quantized::conv2d_relu"].cpu_bytes) == "501.00 Kb"
    assert memory.readable(int8["aten::quantize_per_tensor"].cpu_bytes) == "3.00 Kb"


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
    nobody = "a_package_that_nobody_has is not installed: pip install a_package_that_nobody_has"
    with pytest.raises(Unavailable, match=f"elsewhere: {nobody}"):
        variants.build(variant, digits_checkpoint, digits)
    with pytest.raises(UserError, match="defined twice"):
        variants.variant("elsewhere", engine="x", summary="", format=WEIGHTS)(elsewhere)


def test_what_is_ours_to_install_is_an_extra_of_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    obstacle = variants.all_variants()["onnx-int8"].obstacle()
    command = "pip install -e '.[onnx]' -c baselines/constraints.txt"
    assert obstacle == Obstacle(f"onnx is not installed: {command}", mendable=True)
    monkeypatch.setattr(obstacles, "CHECKOUT", tmp_path)  # installed without one
    said = variants.all_variants()["onnx-int8"].missing()
    assert said == "onnx is not installed: pip install 'pytest-qmodels[onnx]'"


def fails(model: Resnet34, calibration: Tensor | None) -> Runnable:
    raise ValueError("no such layer\nand a page of it")


def test_a_quantizer_that_raises_is_one_line(
    digits: Dataset, digits_checkpoint: Checkpoint
) -> None:
    failing = dataclasses.replace(variants.all_variants()["fp32"], name="mine", quantize=fails)
    with pytest.raises(UserError) as caught:
        variants.build(failing, digits_checkpoint, digits)
    assert str(caught.value) == (
        f"mine can't be built (ValueError: no such layer): mend {fails.__module__}, "
        "or leave the variant out"
    )


def test_what_cannot_be_stored_is_one_line(digits: Dataset, digits_checkpoint: Checkpoint) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    fp32 = variants.all_variants()["fp32"]
    broken = dataclasses.replace(fp32, format=Format(full, fp32.format.load))
    with pytest.raises(UserError, match=r"^fp32 can't be built \(OSError: .*\): free the disk"):
        variants.build(broken, digits_checkpoint, digits)


def test_what_a_runtime_or_the_network_refuses_is_told_apart(
    digits: Dataset, digits_checkpoint: Checkpoint
) -> None:
    def refuses(model: Resnet34, calibration: Tensor | None) -> Runnable:
        raise Unavailable("mine has no such blocks: choose resnet34")

    fp32 = variants.all_variants()["fp32"]
    with pytest.raises(Unavailable, match="^mine has no such blocks: choose resnet34$"):
        variants.build(dataclasses.replace(fp32, quantize=refuses), digits_checkpoint, digits)


def keys(names: tuple[str, ...], checkpoint: Checkpoint, dataset: Dataset) -> dict[str, str]:
    known = variants.all_variants()
    return {
        name: store.digest_value(artifact.inputs(known[name], checkpoint, dataset))
        for name in names
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_a_key_holds_the_images_that_are_looked_at(
    digits: Dataset, digits_checkpoint: Checkpoint
) -> None:
    names = ("fp32", "dynamic-int8", "static-int8", "qat-int8", "weight-int4")
    before = keys(names, digits_checkpoint, digits)
    train = dataclasses.replace(digits.train, images=digits.train.images ^ 1)
    other = dataclasses.replace(digits, train=train)
    assert changed(before, keys(names, digits_checkpoint, other)) == {"static-int8", "weight-int4"}
    # The reference arithmetic of int8 variants is of the first test images.
    test = dataclasses.replace(digits.test, images=digits.test.images ^ 1)
    other = dataclasses.replace(digits, test=test)
    assert changed(before, keys(names, digits_checkpoint, other)) == {"static-int8", "qat-int8"}
    other = dataclasses.replace(digits, std=(0.3, 0.3, 0.3))
    expected = {"static-int8", "qat-int8", "weight-int4"}
    assert changed(before, keys(names, digits_checkpoint, other)) == expected
    other = dataclasses.replace(digits, name="the same images")
    assert changed(before, keys(names, digits_checkpoint, other)) == set()


def test_machine_code_is_keyed_by_the_instructions_it_may_use(
    digits: Dataset, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("fp32", "static-int8-onednn", "fp32-compiled", "bf16")
    before, flags = keys(names, digits_checkpoint, digits), machine.cpu_flags()
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags | {"an_instruction"})
    assert changed(before, keys(names, digits_checkpoint, digits)) == {"fp32-compiled", "bf16"}


def test_machine_code_is_loaded_where_its_instructions_are(
    digits: Dataset, digits_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variant = variants.all_variants()["fp32-compiled"]
    made = artifact.inputs(variant, digits_checkpoint, digits)
    (tmp_path / store.MANIFEST).write_text(json.dumps({"inputs": made}))
    flags = machine.cpu_flags()
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags | {"a_newer_one"})
    assert Artifact(variant, tmp_path).unfit() is None
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags - {"sse2", "avx2", "asimd"})
    said = Artifact(variant, tmp_path).unfit()
    lacking = ", ".join(sorted(flags & {"sse2", "avx2", "asimd"}))
    assert said == f"is code for a processor with {lacking}, which this one lacks"
