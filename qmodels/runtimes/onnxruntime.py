"""ONNX Runtime: graphs in ONNX, executed by its own CPU kernels (MLAS)."""

import json
import re
import tempfile
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from qmodels.runtimes import onnx_graph, onnxruntime_session
from qmodels.runtimes.dispatch import Kernel, Runnable
from qmodels.runtimes.format import Format, Restructure, Structure
from qmodels.runtimes.onnxruntime_session import FILE

if TYPE_CHECKING:
    from onnx import ModelProto

# Kernels that multiply; those of integers have a name of their own.
MULTIPLYING = re.compile(r"Conv|Gemm|MatMul")
INTEGER = re.compile(r"^(QLinear|QGemm|Q.*MatMul|.*Integer)")
# What optimizations append to the name of a node, and the profiler to that.
APPENDED = re.compile(r"(_token_\d+|_nchwc|_nhwc|_quant)*_kernel_time$")


def save(graph: "ModelProto", structure: Structure, folder: Path) -> None:
    """Write a graph with its weights into one file."""
    (folder / FILE).write_bytes(graph.SerializeToString())


def load(folder: Path, restructure: Restructure) -> Runnable:
    """Open a session of as many threads as torch has."""
    return running(session(str(folder / FILE)))


def session(graph: str | bytes, **options: Any) -> Any:
    """A session of as many threads as torch has, of a graph in a file or serialized."""
    return onnxruntime_session.session(graph, torch.get_num_threads(), **options)


def running(opened: Any) -> Runnable:
    """A session as what maps images to logits."""
    forward = onnxruntime_session.running(opened)
    return lambda images: torch.from_numpy(forward(images.numpy()))


def kernels(forward: Runnable, folder: Path, images: Tensor) -> list[Kernel]:
    """What the session's profiler says that it executed in a forward."""
    import onnx

    path = folder / FILE
    shapes = onnx_graph.weight_shapes(onnx.load(path))
    with tempfile.TemporaryDirectory() as scratch:
        prefix = str(Path(scratch, "profile"))
        opened = session(str(path), enable_profiling=True, profile_file_prefix=prefix)
        running(opened)(images)
        events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
    return [
        kernel(event, shapes)
        for event in events
        if event.get("cat") == "Node"
        and event["name"].endswith("_kernel_time")
        and MULTIPLYING.search(event["args"]["op_name"])
    ]


def kernel(event: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> Kernel:
    """An event of the profile; one of a layer that the graph does not have multiplied nothing."""
    operator = event["args"]["op_name"]
    layer = APPENDED.sub("", event["name"])
    ((_, out),) = event["args"]["output_type_shape"][0].items()
    count = positions(out) * prod(shapes[layer]) if layer in shapes else 0
    return Kernel(layer, operator, count, bool(INTEGER.match(operator)))


def positions(shape: list[int]) -> int:
    """How many positions an output has, of all images, whether channels come second or last.

    They may be padded, so they are no help; feature maps are square.
    """
    images, *others = shape
    return images * (others[1] ** 2 if len(others) == 3 else 1)


def reference(graph: "ModelProto") -> Runnable:
    """The graph without optimizations: it dequantizes, multiplies in float32, and quantizes."""
    return running(session(graph.SerializeToString(), **unoptimized()))


def unoptimized() -> dict[str, Any]:
    """Options of a session that computes a graph node by node, as it is written."""
    import onnxruntime

    return {"graph_optimization_level": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL}


def saturates() -> bool:
    """Whether its int8 convolution gives wrong sums at full range on this machine."""
    opened = session(onnx_graph.saturation_probe().SerializeToString())
    (sums,) = opened.run(None, {"images": np.full((1, 64, 8, 8), 255, np.float32)})
    return onnx_graph.saturated(sums)


ONNX = Format(
    save,
    load,
    kernels,
    reference,
    torch_allocates=False,
    served_by=onnxruntime_session.__name__,
)
