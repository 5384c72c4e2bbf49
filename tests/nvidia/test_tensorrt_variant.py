"""tensorrt-int8: the graph that TensorRT is given, and what is made of its answers."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qmodels import data, variants
from qmodels.backends import onnxruntime
from qmodels.backends.base import ForwardFn
from qmodels.data import Dataset
from qmodels.network import Network, evaluation
from qmodels.nvidia import graphs, tensorrt
from qmodels.system import packages
from qmodels.system.errors import Obstacle, UserError
from qmodels.training import checkpoints, on_demand
from qmodels.variants import registry

onnx = pytest.importorskip("onnx", reason=f"graphs are onnx's: {packages.install('tensorrt')}")


@pytest.fixture(scope="module")
def model(digits: Dataset) -> nn.Module:
    return checkpoints.load_model(on_demand.find_or_train(digits, "resnet34", 8))


@pytest.fixture(scope="module")
def graph(digits: Dataset, model: nn.Module) -> Any:
    calibrating = digits.normalize(data.stratified_subset(digits.train, 500).images)
    return variants.all_variants()["tensorrt-int8"].quantize(model, calibrating)


@pytest.fixture(scope="module")
def makers(graph: Any) -> dict[str, Any]:
    """Nodes by the names of what they give."""
    return {node.output[0]: node for node in graph.graph.node}


@pytest.fixture(scope="module")
def readers(graph: Any) -> dict[str, list[Any]]:
    """Nodes by the names of what they read."""
    by_type: dict[str, list[Any]] = {}
    for node in graph.graph.node:
        for name in node.input:
            by_type.setdefault(name, []).append(node)
    return by_type


@pytest.fixture(scope="module")
def constants(graph: Any) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


def test_it_is_a_valid_graph_of_any_batch_size(graph: Any) -> None:
    onnx.checker.check_model(graph, full_check=True)
    (images,), (logits,) = graph.graph.input, graph.graph.output
    sizes = [
        dimension.dim_param or dimension.dim_value
        for dimension in images.type.tensor_type.shape.dim
    ]
    assert sizes == ["batch", 3, 32, 32]
    sizes = [
        dimension.dim_param or dimension.dim_value
        for dimension in logits.type.tensor_type.shape.dim
    ]
    assert sizes == ["batch", 10]
    assert Counter(node.op_type for node in graph.graph.node) == {
        **{"Conv": 36, "Relu": 33, "Add": 16},
        # the image, the stem, 16 blocks, 16 first convolutions, 3 projections
        **{"QuantizeLinear": 37, "DequantizeLinear": 37 + 36},
        **{"GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1},
    }


def test_every_convolution_reads_rounded_values_and_int8_weights(
    graph: Any, makers: dict[str, Any], constants: dict[str, np.ndarray]
) -> None:
    for node in graph.graph.node:
        if node.op_type != "Conv":
            continue
        x, filters = makers[node.input[0]], makers[node.input[1]]
        assert (x.op_type, filters.op_type) == ("DequantizeLinear", "DequantizeLinear")
        assert makers[x.input[0]].op_type == "QuantizeLinear"
        levels, steps, zeros = (constants[name] for name in filters.input)
        assert levels.dtype == np.int8
        assert np.abs(levels.astype(int)).reshape(len(levels), -1).max(1).tolist() == [127] * len(
            levels
        )
        assert steps.shape == zeros.shape == (len(levels),), "a scale for each output channel"
        assert filters.attribute[0].i == 0


def test_what_is_added_is_rounded_and_the_sums_it_is_added_to_are_not(
    graph: Any, makers: dict[str, Any], readers: dict[str, list[Any]]
) -> None:
    """So that convolution, addition, ReLU and rounding are one kernel."""
    adds = [node for node in graph.graph.node if node.op_type == "Add"]
    for node in adds:
        sums, shortcut = (makers[name] for name in node.input)
        assert (sums.op_type, shortcut.op_type) == ("Conv", "DequantizeLinear")
        assert readers[sums.output[0]] == [node]
        (relu,) = readers[node.output[0]]
        (rounded,) = readers[relu.output[0]]
        assert (relu.op_type, rounded.op_type) == ("Relu", "QuantizeLinear")


def test_an_identity_shortcut_shares_the_rounding_of_the_convolution_beside_it(
    graph: Any, readers: dict[str, list[Any]], makers: dict[str, Any]
) -> None:
    adds = [node for node in graph.graph.node if node.op_type == "Add"]
    shared = [
        node
        for node in adds
        if {reader.op_type for reader in readers[node.input[1]]} == {"Conv", "Add"}
    ]
    assert len(shared) == 13
    projected = [node for node in adds if node not in shared]
    for node in projected:
        quantized = makers[makers[node.input[1]].input[0]]
        assert makers[quantized.input[0]].op_type == "Conv"


def test_activations_are_symmetric_with_a_scale_of_their_own(
    graph: Any, constants: dict[str, np.ndarray]
) -> None:
    scales = set()
    for node in graph.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.op_type == "QuantizeLinear":
            scales.add(float(constants[node.input[1]]))
    assert len(scales) > 30
    assert all(0 < scale < 1 for scale in scales)


def test_the_graph_is_as_accurate_as_fp32_in_onnxruntime(
    graph: Any, model: nn.Module, digits: Dataset
) -> None:
    pytest.importorskip("onnxruntime")
    images = digits.normalize(digits.test.images[:300])
    got = onnxruntime.BACKEND.reference(graph)(images)
    with torch.inference_mode():
        expected = model(images)
    noise = (got - expected).pow(2).sum() / expected.pow(2).sum()
    assert -10 * noise.log10() > 20
    labels = digits.test.labels[:300]
    right, right_now = (evaluation.accuracy(logits, labels)[0] for logits in (expected, got))
    assert right - right_now < 2
    # Another evaluator of the same graph; a tie may be rounded the other way.
    own = tensorrt.BACKEND.reference(graph)(images[:12])
    noise = (own - got[:12]).pow(2).sum() / own.pow(2).sum()
    assert own.shape == (12, 10)
    assert -10 * noise.log10() > 40


def test_every_batch_size_has_one_profile() -> None:
    ranges = tensorrt.batch_ranges()
    assert ranges == [(1, 1), (2, 8), (9, 256)]
    assert [tensorrt.profile_of(batch) for batch in (1, 2, 8, 9, 256)] == [0, 1, 1, 2, 2]
    for batch in (0, 257):
        with pytest.raises(UserError, match=f"a batch of {batch} images: the engine takes 1 to"):
            tensorrt.profile_of(batch)


def test_more_images_than_the_engine_takes_go_in_several_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def running(engine: object) -> ForwardFn:
        def forward(images: Tensor) -> Tensor:
            sizes.append(len(images))
            return images.mean((2, 3))

        return forward

    monkeypatch.setattr(tensorrt, "deserialize", lambda path: None)
    monkeypatch.setattr(tensorrt, "as_forward", running)
    monkeypatch.setattr(graphs, "as_graphs", lambda forwards: forwards())
    artifact = variants.Artifact(variants.all_variants()["tensorrt-int8"], tmp_path)
    forward = tensorrt.BACKEND.load(artifact)
    images = torch.randn(600, 3, 2, 2)
    assert torch.equal(forward(images), images.mean((2, 3)))
    assert sizes == [256, 256, 88]


def test_an_inspected_engine_tells_layers_with_weights() -> None:
    """In the form of NVIDIA's documentation of the inspector."""
    outputs = [{"Name": "y", "Dimensions": [8, 64, 16, 16]}]
    convolution = {
        "Name": "conv + Add + Relu",
        "LayerType": "CaskConvolution",
        "Outputs": outputs,
        "Weights": {"Type": "Int8", "Count": 36864},
        "TacticName": "sm90_xmma_fprop_implicit_gemm_i8i8",
    }
    gemm = {
        "Name": "fc",
        "LayerType": "MatrixMultiply",
        "Outputs": [{"Name": "logits", "Dimensions": [8, 10]}],
        "Weights": {"Type": "Float", "Count": 640},
    }
    pooling = {"Name": "pool", "LayerType": "CaskPooling", "Outputs": outputs}
    ran = tensorrt.parse_layers(
        json.dumps({"Layers": [convolution, pooling, gemm, "a name alone"]})
    )
    assert [(kernel.layer, kernel.macs, kernel.int8) for kernel in ran] == [
        ("conv + Add + Relu", 8 * 16 * 16 * 36864, True),
        ("fc", 8 * 640, False),
    ]
    assert ran[0].implementation == convolution["TacticName"]
    assert ran[1].implementation == "MatrixMultiply"


def test_the_package_is_asked_for_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    variant = variants.all_variants()["tensorrt-int8"]
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "tensorrt" else name)
    monkeypatch.setattr(graphs, "no_gpu", lambda: None)
    assert (
        variant.unavailable_reason() == f"tensorrt is not installed: {packages.install('tensorrt')}"
    )


def test_what_the_machine_cannot_run_is_not_worth_installing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    monkeypatch.setattr(graphs, "no_gpu", lambda: Obstacle("no GPU: find one", False))
    here = variants.all_variants()["tensorrt-int8"]
    assert here.unavailable_reason() == "no GPU: find one"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_the_engine_is_as_accurate_as_its_graph(
    digits: Dataset, digits_network: Network
) -> None:
    variant = variants.all_variants()["tensorrt-int8"]
    if variant.unavailable_reason():
        pytest.skip(str(variant.unavailable_reason()))
    artifact = variants.build(variant, digits_network)
    forward, expected = artifact.load(), artifact.reference_logits()
    assert expected is not None
    images = digits.normalize(digits.test.first(len(expected)).images)
    for count in (1, 8, len(expected)):
        got = forward(images[:count])
        noise = (got - expected[:count]).pow(2).sum() / expected[:count].pow(2).sum()
        assert -10 * noise.log10() > 25
    ran = variant.backend.kernels(forward, artifact, images[:1])
    assert sum(kernel.int8 for kernel in ran) == 36
