"""Networks of OpenVINO as a service compiles them: nothing here needs torch."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "model.xml"  # beside it model.bin, the weights


@cache
def core() -> Any:
    """The runtime, one for the process: what it has loaded of plugins lives as long as it."""
    import openvino

    return openvino.Core()


def compile_network(model: Any, threads: int, **options: Any) -> Any:
    """A graph, in a file or memory, compiled for one request at a time.

    Precision is asked for: by default the plugin computes in bfloat16 where the processor can.
    """
    chosen: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        **options,
    }
    return core().compile_model(model, "CPU", chosen)


def as_forward(network: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A compiled graph as what maps images (N, C, H, W) to logits (N, classes), both float32."""
    request = network.create_infer_request()

    def forward(images: NDArray[Any]) -> NDArray[Any]:
        logits: NDArray[Any] = request.infer([images], share_inputs=True)[0]
        return logits.copy()  # the request's own memory changes with the next

    return forward


def loader(
    variant: str, folder: Path, threads: int
) -> Callable[[], Callable[[NDArray[Any]], NDArray[Any]]]:
    """Start OpenVINO; returns the function that loads, see ``base.Backend.service``.

    The plugin, which is no part of an artifact, comes with the first graph that is compiled.
    """
    import openvino
    from openvino import opset13

    value = opset13.parameter([1, 1], np.float32)
    smallest = openvino.Model([opset13.relu(value)], [value], "smallest")
    as_forward(compile_network(smallest, threads))(np.zeros((1, 1), np.float32))
    return lambda: as_forward(compile_network(folder / FILE, threads))
