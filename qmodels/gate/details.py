"""What a run's record holds for a benchmark beside its metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from qmodels.measure.operators import Row


class LayerSqnr(NamedTuple):
    """SQNR of one layer's output, in decibels: of quantization, and of the runtime.

    The latter is None where the runtime does not show what it computes.
    """

    layer: str
    quantization_db: float
    runtime_db: float | None


@dataclass(frozen=True)
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

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Details":
        """Read what ``as_record`` wrote; what the record lacks is empty."""
        return Details(
            kernels={str(name): int(count) for name, count in record.get("kernels", {}).items()},
            layers=tuple(
                LayerSqnr(
                    str(layer), float(quantization), None if runtime is None else float(runtime)
                )
                for layer, quantization, runtime in record.get("layers", ())
            ),
            profile=tuple(map(Row.from_record, record.get("profile", ()))),
            files={str(path): int(size) for path, size in record.get("files", {}).items()},
            base_seconds=tuple(map(float, record.get("base_seconds", ()))),
        )

    def as_record(self) -> dict[str, Any]:
        """The details as run records hold them, without what is empty."""
        record = {
            "kernels": dict(self.kernels),
            "layers": self.layers,
            "profile": [asdict(row) for row in self.profile],
            "files": dict(self.files),
            "base_seconds": self.base_seconds,
        }
        return {name: value for name, value in record.items() if value}


NO_DETAILS = Details()
