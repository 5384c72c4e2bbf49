"""An artifact in a process that has torch: see ``footprint``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from qmodels.variants import Artifact, all_variants
from qmodels.variants.artifact import conditions


def loader(variant: str, folder: Path, threads: int) -> Callable[[], Callable[[NDArray[Any]], Any]]:
    """What loads an artifact; see ``runtimes.format.Format.served_by``."""
    torch.set_num_threads(threads)
    artifact = Artifact(all_variants()[variant], folder)
    conditions(artifact.variant)  # asks the engine now; loading then knows the answer

    def load() -> Callable[[NDArray[Any]], Any]:
        forward = artifact.load()

        def run(images: NDArray[Any]) -> Any:
            with torch.inference_mode():
                return forward(torch.from_numpy(images)).numpy()

        return run

    return load
