"""Artifacts: keys, conditions, damage, and what they refuse."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from qmodels import variants
from qmodels.backends import probe
from qmodels.data import Dataset
from qmodels.network import Network
from qmodels.system import machine, store
from qmodels.system.errors import UserError
from qmodels.training import checkpoints, networks
from qmodels.training.checkpoints import Checkpoint
from qmodels.variants import Artifact, artifact


@pytest.mark.skipif(
    not {"avx512_vnni", "avx_vnni"} & machine.cpu_flags(),
    reason="needs VNNI, to compare with the same processor without",
)
def test_a_variant_that_saturates_is_caught(tmp_path: Path) -> None:
    """On the same processor without VNNI, weights of eight bits overflow."""
    script = f"""
        import dataclasses
        import torch
        from pathlib import Path
        from safetensors.torch import load_file
        from qmodels import variants
        from qmodels.backends import torchscript
        from qmodels.measure import kernels
        from qmodels.network import open_network
        from qmodels.variants import Artifact, build_worker

        folder = Path({str(tmp_path)!r})
        network = open_network("tests.small:network")
        network = dataclasses.replace(network, calibration=network.calibration_images[:300])
        variant = variants.all_variants()["static-int8-onednn"]
        artifact = Artifact(variant, folder)
        images = network.reference_images

        def doubt():
            build_worker.build(variant, network, folder)
            forward = variant.backend.load(artifact)
            with torch.inference_mode():
                logits, fp32 = forward(images), network.load()(images)
            reference = load_file(folder / build_worker.REFERENCE_FILE)["logits"]
            ran = variant.backend.kernels(forward, artifact, images[:1])
            whole = sum(kernel.macs for kernel in ran)
            return kernels.check(variant, kernels.report(ran, whole, logits, reference, fp32))

        print("guarded:", doubt())
        type(torchscript.BACKEND).weight_range = lambda self: (-128, 127)
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
        ({"machine_class": "linux-another"}, "was made on linux-another, and this is"),
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
    monkeypatch.setattr(
        probe, "probe_backend", lambda backend, modules: probe.BackendStatus(None, True)
    )
    with pytest.raises(UserError, match="has weights of eight bits, and x86 saturates here"):
        artifact.load()


@pytest.mark.parametrize("name", ["fp32", "static-int8-jit", "weight-int4"])
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
    build: Callable[[str], Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMODELS_CACHE_DIR", str(tmp_path))
    artifact = build("fp32")
    path = artifact.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged: delete"):
        artifact.load()
    with pytest.warns(UserWarning, match="building small-fp32 again"):
        assert store.damaged_file(build("fp32").folder) is None


def test_artifacts_of_other_weights_are_other_artifacts(
    digits: Dataset, digits_checkpoint: Checkpoint, digits_network: Network, tmp_path: Path
) -> None:
    model = checkpoints.load_model(digits_checkpoint)
    model.get_parameter("head.fc.weight").data.mul_(2)
    other = checkpoints.save(
        model.state_dict(), dataclasses.replace(digits_checkpoint, folder=tmp_path)
    )
    fp32 = variants.all_variants()["fp32"]
    others = networks.of_checkpoint(other, digits)
    assert variants.build(fp32, others).folder != variants.build(fp32, digits_network).folder


def keys(names: tuple[str, ...], network: Network) -> dict[str, str]:
    known = variants.all_variants()
    return {name: store.digest_value(artifact.inputs(known[name], network)) for name in names}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_a_key_holds_the_images_that_are_looked_at(
    digits: Dataset, digits_checkpoint: Checkpoint, digits_network: Network
) -> None:
    names = ("fp32", "dynamic-int8", "static-int8", "qat-int8", "weight-int4")
    before = keys(names, digits_network)
    calibration = dataclasses.replace(digits.calibration, images=digits.calibration.images ^ 1)
    other = dataclasses.replace(digits, calibration=calibration)
    assert changed(before, keys(names, networks.of_checkpoint(digits_checkpoint, other))) == {
        "static-int8",
        "weight-int4",
    }
    # int8 variants compute the first test images in reference arithmetic.
    test = dataclasses.replace(digits.test, images=digits.test.images ^ 1)
    other = dataclasses.replace(digits, test=test)
    assert changed(before, keys(names, networks.of_checkpoint(digits_checkpoint, other))) == {
        "static-int8",
        "qat-int8",
    }
    other = dataclasses.replace(digits, std=(0.3, 0.3, 0.3))
    expected = {"static-int8", "qat-int8", "weight-int4"}
    assert (
        changed(before, keys(names, networks.of_checkpoint(digits_checkpoint, other))) == expected
    )
    other = dataclasses.replace(digits, name="the same images")
    assert changed(before, keys(names, networks.of_checkpoint(digits_checkpoint, other))) == set()


def test_machine_code_is_keyed_by_instructions_and_threads(
    digits_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("fp32", "static-int8-onednn", "fp32-compiled", "bf16")
    before, flags = keys(names, digits_network), machine.cpu_flags()
    with monkeypatch.context() as patch:
        patch.setattr(machine, "cpu_flags", lambda: flags | {"an_instruction"})
        assert changed(before, keys(names, digits_network)) == {"fp32-compiled", "bf16"}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert changed(before, keys(names, digits_network)) == {"fp32-compiled", "bf16"}


def test_machine_code_is_loaded_where_its_instructions_are(
    digits_network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variant = variants.all_variants()["fp32-compiled"]
    inputs = artifact.inputs(variant, digits_network)
    (tmp_path / store.MANIFEST).write_text(json.dumps({"format": 1, "inputs": inputs, "files": {}}))
    flags = machine.cpu_flags()
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags | {"a_newer_one"})
    assert Artifact(variant, tmp_path).unfit() is None
    monkeypatch.setattr(machine, "cpu_flags", lambda: flags - {"sse2", "avx2", "asimd"})
    said = Artifact(variant, tmp_path).unfit()
    lacking = ", ".join(sorted(flags & {"sse2", "avx2", "asimd"}))
    assert said == f"is code for a processor with {lacking}, which this one lacks"


def deployed(artifact: Artifact) -> dict[str, bytes]:
    """Contents of the files that would be deployed, archives opened, by name."""
    contents: dict[str, bytes] = {}
    for path in map(artifact.folder.joinpath, artifact.files):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents |= {name: archive.read(name) for name in archive.namelist()}
        else:
            contents[path.name] = path.read_bytes()
    return contents


def test_what_others_put_into_its_folder_is_no_part_of_an_artifact(
    digits_network: Network, tmp_path: Path
) -> None:
    built = variants.build(variants.all_variants()["fp32"], digits_network)
    copied = Artifact(built.variant, shutil.copytree(built.folder, tmp_path / "copy"))
    for name in (".DS_Store", "model.safetensors~", "__MACOSX/model.safetensors"):
        file = copied.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(6000))
    assert copied.files == built.files
    assert copied.size_bytes == built.size_bytes
    copied.load()


@pytest.mark.parametrize(
    "name",
    ["fp32", "static-int8-jit", "pt2e-int8", "onnx-int8", "openvino-int8", "weight-int4"],
)
def test_an_artifact_holds_no_path_and_no_source_of_where_it_was_built(
    name: str, build: Callable[[str], Artifact], cache: Path
) -> None:
    places = {sys.prefix, tempfile.gettempdir(), str(Path.home()), str(Path.cwd()), str(cache)}
    for file, content in deployed(build(name)).items():
        assert not file.endswith((".cpp", ".debug_pkl"))
        assert b".debug_info" not in content, f"{file} has symbols for debuggers"
        assert [place for place in places if place.encode() in content] == [], file


def test_weights_that_are_deployed_as_float16_are_stored_so(
    build: Callable[[str], Artifact], images: Tensor
) -> None:
    artifact = build("dynamic-fp16")
    tensors = load_file(artifact.folder / "model.safetensors")
    halves = [name for name, value in tensors.items() if value.dtype == torch.float16]
    assert halves == ["head.fc._packed_params._packed_params.0"]
    fp32, fp16 = build("fp32").load()(images), artifact.load()(images)
    assert (fp32 - fp16).abs().max() < 1e-2 * fp32.abs().max()


def test_an_artifact_of_another_structure_is_one_line(
    digits_network: Network, tmp_path: Path
) -> None:
    built = variants.build(variants.all_variants()["fp32"], digits_network)
    folder = tmp_path / built.folder.name
    shutil.copytree(built.folder, folder)
    manifest = json.loads((folder / store.MANIFEST).read_text())
    manifest["inputs"]["structure"]["arguments"]["width"] = 4
    (folder / store.MANIFEST).write_text(json.dumps(manifest))
    said = rf"artifact {folder} can't be loaded \(RuntimeError: .*\): delete it to rebuild"
    with pytest.raises(UserError, match=f"^{said}$"):
        artifact.open_artifact(folder).load()
