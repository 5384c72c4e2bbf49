"""Sessions of ONNX Runtime as a service opens them: nothing here needs torch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

FILE = "model.onnx"
_INPUT = "images"


def session(graph: str | bytes, threads: int, **options: Any) -> Any:
    """A session of a graph, in a file or serialized, with options set on it."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 3
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(graph, chosen, providers=["CPUExecutionProvider"])


def as_forward(opened: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A session as what maps images (N, C, H, W) to logits (N, classes), both float32."""

    def forward(images: NDArray[Any]) -> NDArray[Any]:
        logits: NDArray[Any] = opened.run(None, {_INPUT: images})[0]
        return logits

    return forward


def loader(
    variant: str, folder: Path, threads: int
) -> Callable[[], Callable[[NDArray[Any]], NDArray[Any]]]:
    """Start ONNX Runtime; returns the function that loads, see ``base.Backend.service``."""
    import onnxruntime  # noqa: F401  # the runtime is no part of an artifact

    return lambda: as_forward(session(str(folder / FILE), threads))
