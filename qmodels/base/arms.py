"""Processes of this code and of a base, whose models take turns."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from qmodels.base import protocol
from qmodels.measure import latency
from qmodels.measure.latency import Times
from qmodels.system.checkout import Checkout


@dataclass(frozen=True)
class Arm:
    """One process of a comparison: its code, what it loads, and the command that serves.

    Attributes:
        checkout: that of this process where it is None.
        request: of the protocol's ``load``, without ``threads``.
        command: a module and its arguments.
    """

    checkout: Checkout | None
    request: Mapping[str, Any]
    command: tuple[str, ...] = protocol.COMMAND


def time_arms(arms: Sequence[Arm], models: Mapping[int, Sequence[str]], threads: int) -> Times:
    """Time models in a fresh process for each arm; see ``measure.latency.time_models``."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                protocol.connect(arm.checkout, command=arm.command, environment=latency.STEADY_HEAP)
            )[0]
            for arm in arms
        ]
        return latency.time_models(workers, [arm.request for arm in arms], models, threads)
