"""What a run's record holds for a benchmark beside its metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from qmodels.measure.operators import Row


class LayerSqnr(NamedTuple):
    """SQNR of one layer's output, in decibels: of quantization, and of the runtime.

    The latter is None where the runtime does not show what it computes.
    """

    layer: str
    quantization_db: float
    runtime_db: float | None


@dataclass(frozen=True, kw_only=True)
class Details:
    """What a run's record holds for a benchmark beside its metrics; a stored run has the profile.

    Attributes:
        kernels: how many convolutions and linear layers each kernel ran in one forward.
        layers: their noise, in the order that they ran.
        profile: the profiler's memory table of one forward, its largest rows.
        files: bytes of the deployed files, by path.
        base_seconds: of every timed forward of the base that took turns.
    """

    kernels: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[LayerSqnr, ...] = ()
    profile: tuple[Row, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    base_seconds: tuple[float, ...] = ()


NO_DETAILS = Details()
