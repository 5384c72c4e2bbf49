"""ONNX graphs, and the two runtimes that execute them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from qmodels import resnet
from qmodels.fusion import fuse
from qmodels.runtimes import onnx_graph, onnxruntime, openvino
from qmodels.runtimes.format import Structure

pytest.importorskip("onnx")
STRUCTURE = Structure("resnet34", 4, 10)
IMAGES = resnet.random_images(3)


@pytest.fixture(scope="module")
def network() -> resnet.Resnet34:
    torch.manual_seed(0)
    return resnet.build("resnet34", 4, 10).eval()


@pytest.fixture(scope="module")
def graph(network: resnet.Resnet34) -> Any:
    pytest.importorskip("onnxscript")
    return onnx_graph.export(fuse(network))


def test_nodes_have_the_names_of_layers_and_no_paths(graph: Any) -> None:
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    assert names[0] == "stem.conv.0.Conv"
    assert "stages.1.0.shortcut.conv.Conv" in names
    assert "stages.3.2.Add" in names
    assert names[-1] == "head.fc.Gemm"
    assert b".py" not in graph.SerializeToString()


@pytest.mark.parametrize("runtime", [onnxruntime, openvino])
def test_a_graph_runs_as_the_network_does_with_any_number_of_images(
    runtime: Any, graph: Any, network: resnet.Resnet34, tmp_path: Path
) -> None:
    pytest.importorskip(runtime.__name__.rpartition(".")[2])
    saved = graph
    if runtime is openvino:
        import openvino as library

        saved = library.Core().read_model(graph.SerializeToString())
    runtime.save(saved, STRUCTURE, tmp_path)
    forward = runtime.load(tmp_path, lambda model: model)
    with torch.inference_mode():
        expected = network(IMAGES)
        first = forward(IMAGES)
        torch.testing.assert_close(forward(IMAGES[:1]), expected[:1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)
        assert first.dtype == torch.float32


@pytest.mark.parametrize("runtime", [onnxruntime, openvino])
def test_all_multiply_accumulates_are_accounted_for_as_float(
    runtime: Any, graph: Any, network: resnet.Resnet34, tmp_path: Path
) -> None:
    pytest.importorskip(runtime.__name__.rpartition(".")[2])
    saved = graph
    if runtime is openvino:
        import openvino as library

        saved = library.Core().read_model(graph.SerializeToString())
    runtime.save(saved, STRUCTURE, tmp_path)
    from qmodels.runtimes import dispatch

    ran = runtime.kernels(lambda images: images, tmp_path, IMAGES[:1])
    whole = sum(kernel.macs for kernel in dispatch.kernels(network, IMAGES[:1]))
    assert sum(kernel.macs for kernel in ran) == whole
    assert not any(kernel.int8 for kernel in ran)


@pytest.mark.parametrize("runtime", [onnxruntime, openvino])
def test_the_probe_tells_a_wrong_sum(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(runtime.__name__.rpartition(".")[2])
    assert isinstance(runtime.saturates(), bool)
    exact = onnx_graph.saturated
    monkeypatch.setattr(onnx_graph, "saturated", lambda sums: exact(sums - 1))
    assert runtime.saturates()
