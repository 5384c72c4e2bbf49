"""ONNX graphs, and the two runtimes that execute them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qmodels.backends import dispatch, onnxruntime, openvino
from qmodels.backends.base import Backend, Stored
from qmodels.network import onnx_graph, resnet
from qmodels.network.fusion import fuse
from qmodels.network.layers import executed

pytest.importorskip("onnx")
IMAGES = resnet.random_images(3)


@pytest.fixture(scope="module")
def network() -> resnet.Resnet34:
    torch.manual_seed(0)
    return resnet.build("resnet34", 4, 10).eval()


@pytest.fixture(scope="module")
def graph(network: resnet.Resnet34) -> Any:
    pytest.importorskip("onnxscript")
    return onnx_graph.export(fuse(network), IMAGES)


def test_nodes_have_the_names_of_layers_and_no_paths(graph: Any) -> None:
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    assert names[0] == "stem.conv.Conv"
    assert "stages.1.0.shortcut.conv.Conv" in names
    assert "stages.3.2.Add" in names
    assert names[-1] == "head.fc.Gemm"
    assert b".py" not in graph.SerializeToString()


BACKENDS = [onnxruntime.BACKEND, openvino.BACKEND]
each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


@pytest.fixture
def files(backend: Backend, graph: Any, save: Callable[..., Stored]) -> Stored:
    library = pytest.importorskip(backend.name)
    if backend is openvino.BACKEND:
        return save(backend, library.Core().read_model(graph.SerializeToString()))
    return save(backend, graph)


@each_backend
def test_a_graph_runs_as_the_network_does_with_any_number_of_images(
    backend: Backend, files: Stored, network: resnet.Resnet34
) -> None:
    forward = backend.load(files)
    with torch.inference_mode():
        expected = network(IMAGES)
        first = forward(IMAGES)
        torch.testing.assert_close(forward(IMAGES[:1]), expected[:1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)
        assert first.dtype == torch.float32


@each_backend
def test_all_multiply_accumulates_are_accounted_for_as_float(
    backend: Backend, files: Stored, network: resnet.Resnet34
) -> None:
    ran = backend.kernels(lambda images: images, files, IMAGES[:1])
    whole = sum(kernel.macs for kernel in dispatch.kernels(network, IMAGES[:1]))
    assert sum(kernel.macs for kernel in ran) == whole
    assert not any(kernel.int8 for kernel in ran)


class Odd(nn.Module):
    """A grouped convolution, one that is fused with ReLU6, and a linear layer with a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(3, 6, 3, padding=1, groups=3)
        self.clipped = nn.Conv2d(6, 8, 3, padding=1)
        self.hidden = nn.Linear(8, 16)
        self.last = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        pooled = nn.functional.relu6(self.clipped(self.grouped(images))).mean((2, 3))
        logits: Tensor = self.last(self.hidden(pooled).relu())
        return logits


@each_backend
def test_every_layer_is_found_in_the_profile(backend: Backend, save: Callable[..., Stored]) -> None:
    library = pytest.importorskip(backend.name)
    pytest.importorskip("onnxscript")
    odd = Odd().eval()
    model: Any = onnx_graph.export(odd, IMAGES)
    if backend is openvino.BACKEND:
        model = library.Core().read_model(model.SerializeToString())
    files = save(backend, model)
    forwards = backend.profile(files, executed(odd, IMAGES), IMAGES, 3)
    assert forwards is not None
    for forward in forwards:
        named = [step.layer for step in forward.steps if step.layer]
        assert named == ["grouped", "clipped", "hidden", "last"]


@each_backend
def test_the_probe_tells_a_wrong_sum(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(backend.name)
    assert isinstance(backend.saturates(), bool)
    exact = onnx_graph.is_saturated
    monkeypatch.setattr(onnx_graph, "is_saturated", lambda sums: exact(sums - 1))
    assert backend.saturates()
