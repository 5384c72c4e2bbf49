from dataclasses import replace
from pathlib import Path

import pytest

from qmodels import variants
from qmodels.network import resnet
from qmodels.system import store
from qmodels.training import checkpoints
from qmodels.training.checkpoints import Checkpoint
from tests.cli.conftest import Qmodels
from tests.eager import needs_eager_quantization


@needs_eager_quantization
def test_json_says_where_the_artifacts_are(qmodels: Qmodels) -> None:
    built = qmodels("build --dataset digits --variants fp32,dynamic-int8 --json").json
    assert [artifact["variant"] for artifact in built] == ["fp32", "dynamic-int8"]
    for artifact in built:
        files = [p for p in Path(artifact["folder"]).iterdir() if p.name != "manifest.json"]
        assert sum(path.stat().st_size for path in files) == artifact["size_bytes"]
    text = qmodels("build --dataset digits --variants fp32").out
    assert built[0]["folder"] in text


def test_a_network_of_a_function_is_built(qmodels: Qmodels) -> None:
    build = "build --network tests.outside:network --variants fp32 --json"
    (built,) = qmodels(build).json
    assert Path(built["folder"]).name.startswith("sides-fp32-")
    refused = qmodels(f"{build} --width 8")
    assert refused.status == 2
    assert "--width is of packaged networks: leave out --network" in refused.err
    missing = qmodels("build --network nowhere:network")
    assert missing.status == 2
    assert missing.err.count("\n") == 1
    assert "function 'nowhere:network' can't be imported" in missing.err


@pytest.mark.usefixtures("empty_cache")
def test_other_weights_are_built_where_they_are_named(
    qmodels: Qmodels, digits_checkpoint: Checkpoint
) -> None:
    state = resnet.build("resnet34", 8, 10).state_dict()
    other = replace(digits_checkpoint, file="other.safetensors")
    checkpoints.save(state, replace(other, folder=store.cache_dir("checkpoints")))
    build = "build --dataset digits --variants fp32 --json"
    shipped = qmodels(build).json[0]["folder"]
    assert shipped != qmodels(f"{build} --checkpoint other").json[0]["folder"]


@pytest.mark.usefixtures("empty_cache")
@needs_eager_quantization
def test_a_variant_that_cannot_be_built_costs_itself(
    qmodels: Qmodels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dynamic_int8(*inputs: object) -> None:
        raise ValueError("no such axis")

    known = variants.all_variants()
    chosen = [replace(known["dynamic-int8"], quantize=dynamic_int8), known["fp32"]]
    monkeypatch.setattr(variants, "select", lambda names: chosen)
    result = qmodels("build --dataset digits --json")
    assert result.status == 2
    assert "dynamic-int8 can't be built (ValueError: no such axis)" in result.err
    assert [artifact["variant"] for artifact in result.json] == ["fp32"]
