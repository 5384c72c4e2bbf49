"""One benchmark of a run: what it is about, what was measured, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from qmodels.gate.details import Details
from qmodels.gate.ranks import Ranks
from qmodels.gate.scores import Scores
from qmodels.measure.metric import Metric
from qmodels.system import codec
from qmodels.system.converter import expect

# Entries that differ in one of these measured different quantities. For machine classes see
# ``comparable``.
CONDITIONS = ("engine", "runtime", "threads", "gpu")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Who made an entry, when and where.

    Attributes:
        date: ISO 8601.
        commit: ends with ``-dirty`` where the checkout had changes.
        host: an opaque digest of one boot of one machine; see ``machine.host``.
    """

    date: str
    commit: str
    host: str
    processor: str = "unknown"
    versions: Mapping[str, str]

    @property
    def python(self) -> str:
        """Python's version without the patch number."""
        return ".".join(str(self.versions.get("python")).split(".")[:2])


class Key(NamedTuple):
    """The identity of an entry; it does not change when the bench's file moves."""

    network: str
    bench: str
    variant: str
    batch_size: int


@dataclass(frozen=True)
class Stats:
    """Statistics of the timed rounds, in seconds, as pytest-benchmark names them.

    Attributes:
        data: every timed round, where the record has them.
    """

    min: float | None = None
    max: float | None = None
    mean: float | None = None
    stddev: float | None = None
    median: float | None = None
    iqr: float | None = None
    ops: float | None = None
    rounds: int | None = None
    iterations: int | None = None
    outliers: str | None = None
    total: float | None = None
    ld15iqr: float | None = None
    hd15iqr: float | None = None
    q1: float | None = None
    q3: float | None = None
    iqr_outliers: int | None = None
    stddev_outliers: int | None = None
    data: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The part of a benchmark that pytest-benchmark records and prints.

    Attributes:
        name: the benchmark's name, as pytest shows it.
        nodeid: pytest's address of the bench when it ran.
    """

    name: str
    nodeid: str = field(metadata={"key": "fullname"})
    group: str | None = None
    param: str | None = None
    params: Mapping[str, Any] | None = None
    stats: Stats = Stats()


@dataclass(frozen=True, kw_only=True)
class About:
    """The subject of a measurement, and its conditions.

    Attributes:
        weights: the first digits of the digest of the network's module.
        kernel_library: what executes on the machine class; the same name means the same counts.
        portable: whether the files are the same on every machine class, but for numbers in them.
        int8_saturates: whether int8 products overflow on this machine, where that is known.
        cpus: the number of processors that a latency process ran on, where it was told.
    """

    network: str
    bench: str
    variant: str
    batch_size: int
    engine: str
    runtime: str | None = None
    threads: int | str
    gpu: str | None = None
    weights: str
    arithmetic: str
    kernel_library: str | None = None
    portable: bool = True
    images: int | None = None
    int8_saturates: bool | None = None
    cpus: int | None = None

    @property
    def key(self) -> Key:
        """The identity of the entry."""
        return Key(self.network, self.bench, self.variant, self.batch_size)


@dataclass(frozen=True, kw_only=True)
class Measured(About, Details):
    """The part of a benchmark that qmodels records.

    Attributes:
        machine_class: of the processor, or of the GPU where that executes the variant.
        source: the ``function`` that gives the network, and its arguments, by name.
        unmeasured: metrics that could not be measured on this machine, and why.
        by_image: accuracy image by image: the rank of the right class, or the score.
        base: values of metrics that a base measured beside this run; None without a base.
    """

    machine_class: str
    source: Mapping[str, Any]
    provenance: Provenance
    metrics: Mapping[str, Metric]
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    by_image: Ranks | Scores | None = field(default=None, metadata={"key": "ranks"})
    base: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Entry(Timing, Measured):
    """One benchmark of a run.

    Attributes:
        file: that it was read from, as people type its path; None of a run in this process.
    """

    file: str | None = None

    @property
    def images_digest(self) -> str | None:
        """Digest of the test split that accuracy was measured on."""
        return self.by_image.images if self.by_image else None


def decode_by_image(record: Any) -> Ranks | Scores | None:
    """Accuracy image by image, as a record has it."""
    expect(record is None or isinstance(record, dict), "an object")
    kind: type[Ranks | Scores] = Scores if record and "scores" in record else Ranks
    return None if record is None else codec.decode(kind, record)


codec.register(Ranks | Scores | None, decode_by_image)


def bench_name(name: str, network: str, variant: str) -> str:
    """The name of a bench without its network, which pytest shows in a session with several."""
    return name.replace(f"[{network}-{variant}", f"[{variant}", 1)
