"""Layer by layer: how long a forward takes, by the runtime's own profiler.

A profiler costs time itself. So forwards without it are timed before and after, in the same
process, which has imported no other runtime.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qmodels.backends import onednn_log
from qmodels.backends.base import UNTIMED, ProfiledForward, Step, time_forward
from qmodels.measure import timing
from qmodels.measure.latency import STEADY_HEAP
from qmodels.network.layers import executed
from qmodels.system import child, codec, worker
from qmodels.system.errors import UserError
from qmodels.variants.artifact import Artifact, open_artifact

# torch's profiler logs when it starts and stops; 6 is silence.
_ENVIRONMENT = {**STEADY_HEAP, **onednn_log.ENVIRONMENT, "KINETO_LOG_LEVEL": "6"}
_BUDGET_SECONDS = 1.0
_LEAST_FORWARDS, _MOST_FORWARDS = 10, 50


@dataclass(frozen=True)
class LayerTime:
    """Median seconds of a layer in a forward, and the operators or kernels that it mostly ran."""

    layer: str
    seconds: float
    operation: str


@dataclass(frozen=True)
class OtherTime:
    """Median seconds of all calls in a forward of an operation that is no layer, and how many."""

    operation: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class TimeProfile:
    """Where the time of forwards goes.

    Attributes:
        forward_seconds: of a forward without the profiler, the median.
        forwards: those under the profiler.
        network: the network's layers, in the order that it runs them.
    """

    forward_seconds: float
    forwards: tuple[ProfiledForward, ...]
    network: tuple[str, ...]

    @property
    def layers(self) -> list[LayerTime]:
        """Every convolution and linear layer, in the order that they ran."""
        of_layers = [_by_layer(forward) for forward in self.forwards]
        return [
            LayerTime(
                name,
                statistics.median(
                    sum(step.seconds for step in steps.get(name, ())) for steps in of_layers
                ),
                statistics.mode(
                    ", ".join(dict.fromkeys(step.operation for step in steps.get(name, ())))
                    for steps in of_layers
                ),
            )
            for name in of_layers[0]
        ]

    @property
    def unseen(self) -> list[str]:
        """Layers that the profiler did not show; their time is in ``between_seconds``."""
        seen = _by_layer(self.forwards[0])
        return [name for name in self.network if name not in seen]

    @property
    def others(self) -> list[OtherTime]:
        """Every operation that is no layer, such as a reorder or an addition; the longest first."""
        forwards = [_by_operation(forward) for forward in self.forwards]
        others = [
            OtherTime(
                name,
                statistics.median_high(len(calls.get(name, ())) for calls in forwards),
                statistics.median(sum(calls.get(name, ())) for calls in forwards),
            )
            for name in dict.fromkeys(name for calls in forwards for name in calls)
        ]
        return sorted((other for other in others if other.calls), key=lambda other: -other.seconds)

    @property
    def between_seconds(self) -> float:
        """The median of a forward's time in which the profiler saw nothing run."""
        return statistics.median(
            forward.seconds - sum(step.seconds for step in forward.steps)
            for forward in self.forwards
        )

    @property
    def seconds(self) -> float:
        """Seconds of all layers, other operations, and the time between them."""
        layers = sum(layer.seconds for layer in self.layers)
        return layers + sum(other.seconds for other in self.others) + self.between_seconds


def _by_layer(forward: ProfiledForward) -> dict[str, list[Step]]:
    steps: dict[str, list[Step]] = {}
    for step in forward.steps:
        if step.layer is not None:
            steps.setdefault(step.layer, []).append(step)
    return steps


def _by_operation(forward: ProfiledForward) -> dict[str, list[float]]:
    calls: dict[str, list[float]] = {}
    for step in forward.steps:
        if step.layer is None:
            calls.setdefault(step.operation, []).append(step.seconds)
    return calls


@dataclass(frozen=True)
class _ProfileRequest:
    folder: str
    batch_size: int
    threads: int


@dataclass(frozen=True)
class _Profiled:
    """The answer of the process; no profile where its runtime has no profiler."""

    profile: TimeProfile | None


def profile(artifact: Artifact, batch_size: int, threads: int) -> TimeProfile:
    """Profile forwards in a fresh process.

    Raises:
        UserError: the process failed, or the artifact's runtime has no profiler.
    """
    request = asdict(_ProfileRequest(str(artifact.folder), batch_size, threads))
    with worker.start("qmodels.measure.layer_times", environment=_ENVIRONMENT) as process:
        profiled = process.ask(_Profiled, request).profile
    if profiled is None:
        backend = artifact.variant.backend.name
        raise UserError(
            f"{artifact.variant.name}: {backend} has no profile of its layers: choose a variant of "
            "a CPU runtime"
        )
    return profiled


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    asked = codec.decode(_ProfileRequest, request)
    artifact = open_artifact(Path(asked.folder))
    images = artifact.example(asked.batch_size)
    with timing.timing_environment(asked.threads):
        forward = artifact.load()
        run = partial(forward, images)
        untimed = [time_forward(run) for _ in range(UNTIMED)]
        wanted = math.ceil(_BUDGET_SECONDS / untimed[-1])
        count = max(_LEAST_FORWARDS, min(_MOST_FORWARDS, wanted))
        before = [time_forward(run) for _ in range(count)]
        layers = executed(artifact.network(), images[:1])
        forwards = artifact.variant.backend.profile(artifact, layers, images, count)
        after = [time_forward(run) for _ in range(count)]
    if forwards is None:
        return asdict(_Profiled(None))
    names = tuple(layer.name for layer in layers)
    return asdict(_Profiled(TimeProfile(statistics.median(before + after), tuple(forwards), names)))


if __name__ == "__main__":
    child.serve(_answer)
