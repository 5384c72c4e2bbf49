"""Run as a process of its own: as `qmodels serve`, with models slowed as the request says.

A model is slowed by work of a kind that it does itself, not by sleeping: the processor is kept
busy, as by a regression.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from qmodels import serving
from qmodels.measure import stopwatch
from qmodels.measure.stopwatch import Loader
from qmodels.runtimes.dispatch import Runnable

WORK = "work"
# Floats of a unit of work: they stay in the first-level cache.
UNIT = 1024


def slowed(forward: Runnable, units: Mapping[int, int]) -> Runnable:
    """A model that adds some vectors after each forward, so many by batch size."""
    ones = torch.ones(UNIT)
    total = torch.zeros(UNIT)

    def with_work(images: Tensor) -> Tensor:
        logits = forward(images)
        for _ in range(units[len(images)]):
            torch.add(total, ones, out=total)
        return logits

    return with_work


def load(request: Mapping[str, Any]) -> dict[str, Loader]:
    """The models of ``request``, slowed by its ``units`` (by variant and batch size).

    Beside them ``WORK``, a thousand units of it and nothing else.
    """

    def slow(loader: Loader, counts: Mapping[str, int]) -> Loader:
        return lambda: slowed(loader(), {int(size): count for size, count in counts.items()})

    models = stopwatch.load(request)
    for name, counts in request["units"].items():
        models[name] = slow(models[name], counts)
    models[WORK] = lambda: slowed(lambda images: images, defaultdict(lambda: 1000))
    return models


if __name__ == "__main__":
    serving.main(load)
