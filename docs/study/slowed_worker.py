"""Run as a process of its own: as `qmodels serve`, with models slowed as the request says.

A model is slowed by work of a kind that it does itself, not by sleeping: the processor is kept
busy, as by a regression.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch

from qmodels.base import serving
from qmodels.measure import latency_worker
from qmodels.measure.latency_worker import Forwards, Loader

WORK = "work"
WORK_UNITS = 1000
# Floats of a unit of work: they stay in the first-level cache.
UNIT = 1024


def slowed(forward_of: Forwards, units: Mapping[int, int]) -> Forwards:
    """A model that adds vectors after each forward.

    Args:
        units: how many additions, by batch size.
    """
    ones = torch.ones(UNIT)
    total = torch.zeros(UNIT)

    def slowed_forward_of(batch_size: int) -> Callable[[], object]:
        forward, count = forward_of(batch_size), units[batch_size]

        def forward_and_work() -> object:
            logits = forward()
            for _ in range(count):
                torch.add(total, ones, out=total)
            return logits

        return forward_and_work

    return slowed_forward_of


def load(request: Mapping[str, Any]) -> dict[str, Loader]:
    """As ``latency_worker.load``, with models slowed, and ``WORK``, which does nothing else.

    Args:
        request: also ``units``, by variant and batch size.
    """

    def slow(loader: Loader, counts: Mapping[str, int]) -> Loader:
        return lambda: slowed(loader(), {int(size): count for size, count in counts.items()})

    models = latency_worker.load(request)
    slow_models = {name: slow(models[name], counts) for name, counts in request["units"].items()}
    idle: Forwards = lambda batch_size: lambda: None  # noqa: E731
    work: Loader = lambda: slowed(idle, defaultdict(lambda: WORK_UNITS))  # noqa: E731
    return {**models, **slow_models, WORK: work}


if __name__ == "__main__":
    serving.main(load)
