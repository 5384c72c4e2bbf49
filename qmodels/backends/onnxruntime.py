"""ONNX Runtime: graphs in ONNX, executed by its own CPU kernels (MLAS)."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from qmodels.backends import onnxruntime_session
from qmodels.backends.base import (
    UNTIMED,
    Backend,
    ForwardFn,
    Kernel,
    ProfiledForward,
    Step,
    Stored,
    time_forward,
)
from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.backends.onnxruntime_session import FILE
from qmodels.network import onnx_graph
from qmodels.network.evaluation import sqnr_db
from qmodels.network.layers import Layer, executed, fused_outputs, output_sqnr, owner

if TYPE_CHECKING:
    from onnx import ModelProto

# Kernels that multiply; those of integers have a name of their own.
_MULTIPLYING = re.compile(r"Conv|Gemm|MatMul")
_INTEGER = re.compile(r"^(QLinear|QGemm|Q.*MatMul|.*Integer)")
# What optimizations append to the name of a node, and the profiler to that.
_APPENDED = re.compile(r"(_token_\d+|_nchwc|_nhwc|_quant)*_kernel_time$")


class _OnnxRuntime(Backend):
    name = "onnxruntime"
    requires = ("onnx", "onnxscript", "onnxruntime")
    extra = "onnx"
    torch_allocates = False
    service = onnxruntime_session.__name__

    def save(self, model: "ModelProto", folder: Path) -> None:
        (folder / FILE).write_bytes(model.SerializeToString())

    def load(self, artifact: Stored) -> ForwardFn:
        return as_forward(_session(str(artifact.folder / FILE)))

    def kernels(self, forward: ForwardFn, artifact: Stored, images: Tensor) -> list[Kernel]:
        import onnx

        path = artifact.folder / FILE
        layers = onnx_graph.layers(onnx.load(path))
        return [
            _kernel(event, layers)
            for event in _profile_events(path, images, forwards=1)[1]
            if _is_node(event) and _MULTIPLYING.search(event["args"]["op_name"])
        ]

    def profile(
        self, artifact: Stored, layers: Sequence[Layer], images: Tensor, forwards: int
    ) -> list[ProfiledForward] | None:
        import onnx

        path = artifact.folder / FILE
        nodes = {
            name: owner(layer.name, layers)
            for name, layer in onnx_graph.layers(onnx.load(path)).items()
        }
        seconds, events = _profile_events(path, images, forwards=UNTIMED + forwards)
        runs = [event for event in events if event["name"] == "model_run"]
        return [
            ProfiledForward(
                elapsed,
                tuple(
                    _step(event, run["ts"], nodes)
                    for event in events
                    if _is_node(event) and 0 <= event["ts"] - run["ts"] <= run["dur"]
                ),
            )
            for elapsed, run in zip(seconds[UNTIMED:], runs[UNTIMED:], strict=True)
        ]

    def reference(self, model: "ModelProto") -> ForwardFn:
        """The graph without optimizations: it dequantizes, multiplies in float32, quantizes."""
        return as_forward(_session(model.SerializeToString(), **_unoptimized_options()))

    def saturates(self) -> bool | None:
        opened = _session(onnx_graph.saturation_probe().SerializeToString())
        (sums,) = opened.run(None, {"images": np.full((1, 64, 8, 8), 255, np.float32)})
        return onnx_graph.is_saturated(sums)

    def layer_noise(
        self,
        artifact: Stored,
        model: nn.Module,
        images: Tensor,
        quantize: Callable[[], Any] | None = None,
    ) -> list[LayerSqnr] | None:
        """Noise of every layer's output, after it was quantized.

        onnxruntime's own ``qdq_loss_debug`` shows every tensor of the graph, which keeps the
        runtime from fusing what it would fuse otherwise.
        """
        import onnx

        quantized = onnx.load(artifact.folder / FILE)
        shown = onnx_graph.quantized_outputs(quantized, executed(model, images[:1]))
        of_float = fused_outputs(model, images)
        of_reference = _collect_outputs(
            quantized, list(shown.values()), images, **_unoptimized_options()
        )
        of_runtime = _collect_outputs(quantized, list(shown.values()), images)
        return [
            LayerSqnr(layer, output_sqnr(exact, of_float[layer]), sqnr_db(runtime, exact))
            for layer, exact, runtime in zip(shown, of_reference, of_runtime, strict=True)
        ]


BACKEND = _OnnxRuntime()


def _session(graph: str | bytes, **options: Any) -> Any:
    return onnxruntime_session.session(graph, torch.get_num_threads(), **options)


def as_forward(opened: Any) -> ForwardFn:
    """A session as what maps images to logits."""
    forward = onnxruntime_session.as_forward(opened)
    return lambda images: torch.from_numpy(forward(images.numpy()))


def _profile_events(
    path: Path, images: Tensor, *, forwards: int
) -> tuple[list[float], list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as scratch:
        prefix = str(Path(scratch, "profile"))
        opened = _session(str(path), enable_profiling=True, profile_file_prefix=prefix)
        forward = as_forward(opened)
        seconds = [time_forward(lambda: forward(images)) for _ in range(forwards)]
        events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
    return seconds, events


def _is_node(event: dict[str, Any]) -> bool:
    return event.get("cat") == "Node" and event["name"].endswith("_kernel_time")


def _node_name(event: dict[str, Any]) -> str:
    return _APPENDED.sub("", event["name"]).removeprefix("fused ")


def _step(event: dict[str, Any], started: float, nodes: Mapping[str, str | None]) -> Step:
    operator = event["args"]["op_name"]
    layer = nodes.get(_node_name(event)) if _MULTIPLYING.search(operator) else None
    return Step(layer, operator, 1e-6 * (event["ts"] - started), 1e-6 * event["dur"])


def _kernel(event: dict[str, Any], layers: Mapping[str, Layer]) -> Kernel:
    """An event of the profile; one of a layer that the graph does not have multiplied nothing."""
    operator = event["args"]["op_name"]
    name = _node_name(event)
    ((_, output),) = event["args"]["output_type_shape"][0].items()
    integer = bool(_INTEGER.match(operator))
    macs = 0
    if name in layers:
        weight = layers[name].weight
        macs = _positions(output, weight[0], integer=integer) * prod(weight)
    return Kernel(name, operator, macs, integer)


def _positions(output: list[int], channels: int, *, integer: bool) -> int:
    """The number of positions in an output, of all images.

    Integer kernels may put channels last. Float kernels put them second, and may pad them.
    """
    images, *others = output
    last = integer and others[-1] == channels
    return images * prod(others[:-1] if last else others[1:])


def _unoptimized_options() -> dict[str, Any]:
    import onnxruntime

    return {"graph_optimization_level": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL}


def _collect_outputs(
    graph: "ModelProto", names: list[str], images: Tensor, **options: Any
) -> list[Tensor]:
    import onnx

    showing = onnx.ModelProto()
    showing.CopyFrom(graph)
    shown = {output.name for output in showing.graph.output}
    showing.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if name not in shown
    )
    opened = _session(showing.SerializeToString(), **options)
    return [
        torch.from_numpy(value) for value in opened.run(names, {onnx_graph.INPUT: images.numpy()})
    ]
