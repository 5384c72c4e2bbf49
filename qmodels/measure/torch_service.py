"""Serve an artifact in a process that has torch: see ``footprint``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from qmodels.variants.artifact import conditions, open_artifact


def loader(variant: str, folder: Path, threads: int) -> Callable[[], Callable[[NDArray[Any]], Any]]:
    """What loads an artifact, as a function from images to logits, both float32 of numpy."""
    torch.set_num_threads(threads)
    artifact = open_artifact(folder)
    conditions(artifact.variant)  # probes the engine now: that memory is not the artifact's

    def load() -> Callable[[NDArray[Any]], Any]:
        forward = artifact.load()

        def run(images: NDArray[Any]) -> Any:
            with torch.inference_mode():
                return forward(torch.from_numpy(images)).numpy()

        return run

    return load
