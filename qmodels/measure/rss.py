"""Run as a process of its own: load an artifact, run it, print the peak resident memory as JSON."""

import argparse
import json
import threading
from pathlib import Path

import psutil
import torch

from qmodels.resnet import random_images
from qmodels.variants import Artifact, all_variants

FORWARDS = 5
SAMPLING_SECONDS = 0.001


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant")
    parser.add_argument("folder", type=Path)
    parser.add_argument("threads", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
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
        forward = Artifact(all_variants()[arguments.variant], arguments.folder).load()
        with torch.inference_mode():
            for _ in range(FORWARDS):
                forward(random_images(1))
    finally:
        finished.set()
        watcher.join()
    print(json.dumps({"peak_rss": max(peak, process.memory_info().rss)}))


if __name__ == "__main__":
    main()
