"""Run as a process of its own: load an artifact, run it, print the peak resident memory."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from qmodels import child
from qmodels.resnet import random_images
from qmodels.variants import Artifact, all_variants

FORWARDS = 5
SAMPLING_SECONDS = 0.001


def answer(request: Mapping[str, Any]) -> int:
    """Peak resident bytes.

    Args:
        request: ``variant``, ``folder`` of its artifact, ``threads``.
    """
    torch.set_num_threads(request["threads"])
    process = psutil.Process()
    peak = 0
    finished = threading.Event()

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, process.memory_info().rss)
            if finished.wait(SAMPLING_SECONDS):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        variant = all_variants()[request["variant"]]
        forward = Artifact(variant, Path(request["folder"])).load()
        with torch.inference_mode():
            for _ in range(FORWARDS):
                forward(random_images(1))
    finally:
        finished.set()
        watcher.join()
    return max(peak, process.memory_info().rss)


if __name__ == "__main__":
    child.serve(answer)
