"""Serve an artifact in a process that has torch: see ``footprint``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from qmodels.variants.artifact import conditions, open_artifact


def loader(variant: str, folder: Path, threads: int) -> Callable[[], Callable[[NDArray[Any]], Any]]:
    """Start torch; returns the function that loads, see ``base.Backend.service``."""
    torch.set_num_threads(threads)
    artifact = open_artifact(folder)
    # What torch itself takes when it first does something is not the artifact's: it probes the
    # engine now, and initializes a layer of each kind.
    conditions(artifact.variant)
    nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Linear(1, 1)).state_dict()

    def load() -> Callable[[NDArray[Any]], Any]:
        forward = artifact.load()

        def run(images: NDArray[Any]) -> Any:
            with torch.inference_mode():
                return forward(torch.from_numpy(images)).numpy()

        return run

    return load
