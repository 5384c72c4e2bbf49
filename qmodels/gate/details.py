"""Details of a benchmark in a run's record, beside its metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qmodels.backends.layer_sqnr import LayerSqnr
from qmodels.measure.operators import Row


@dataclass(frozen=True, kw_only=True)
class Details:
    """Details of a benchmark in a run's record; a stored run has the profile alone.

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
