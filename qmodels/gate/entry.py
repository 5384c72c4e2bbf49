"""One benchmark of a run as a value, read from pytest-benchmark's record of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from qmodels.gate.details import NO_DETAILS, Details
from qmodels.gate.ranks import Ranks
from qmodels.gate.scores import Scores
from qmodels.measure.metric import Metric
from qmodels.system.errors import UserError

T = TypeVar("T")
# Entries that differ in one of these measured different quantities. For machine classes see
# ``comparable``.
COMPARABILITY_KEYS = (
    "engine",
    "runtime",
    "threads",
    "batch_size",
    "gpu",
)


@dataclass(frozen=True)
class Provenance:
    """Who made an entry, when and where.

    Attributes:
        date: ISO 8601.
        commit: ends with ``-dirty`` where the checkout had changes.
        versions: of Python and packages.
        host: an opaque digest of one boot of one machine; see ``machine.host``.
        processor: its model; see ``machine.processor``.
    """

    date: str
    commit: str
    versions: Mapping[str, str]
    host: str
    processor: str = "unknown"

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Provenance":
        """Read what ``as_record`` wrote; what the record lacks is ``unknown``."""
        return Provenance(
            date=str(record.get("date", "unknown")),
            commit=str(record.get("commit", "unknown")),
            versions=dict(record.get("versions", {})),
            host=str(record.get("host", "unknown")),
            processor=str(record.get("processor", "unknown")),
        )

    def as_record(self) -> dict[str, Any]:
        """The provenance as run records hold it."""
        return {
            "date": self.date,
            "commit": self.commit,
            "host": self.host,
            **({} if self.processor == "unknown" else {"processor": self.processor}),
            "versions": dict(self.versions),
        }

    @property
    def python(self) -> str:
        """Python's version without the patch number."""
        return ".".join(str(self.versions.get("python")).split(".")[:2])


class Key(NamedTuple):
    """What identifies an entry; it does not change when the bench's file moves."""

    network: str
    bench: str
    variant: str
    batch_size: int


@dataclass(frozen=True)
class Timing:
    """What pytest-benchmark needs to print a comparison, as its JSON has it.

    Attributes:
        stats: of the timed rounds, in seconds.
        seconds: of every timed round, where the record has them.
    """

    group: str | None = None
    param: str | None = None
    params: Mapping[str, Any] | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One benchmark of a run.

    Attributes:
        name: the benchmark's name, as pytest shows it.
        nodeid: pytest's address of the bench when it ran.
        machine_class: of the processor, or of the GPU where that executes the variant.
        arithmetic: the type that the variant multiplies in.
        conditions: values of ``COMPARABILITY_KEYS``.
        weights: the first digits of the digest of the network's module.
        source: the ``function`` that gives the network, and its arguments, by name.
        metrics: by name.
        unmeasured: metrics that could not be measured on this machine, and why.
        images: the number of images that accuracy was measured on.
        ranks: of the right class for each image, where accuracy was measured.
        scores: instead of them, of a network that has a score.
        kernel_library: what executes on the machine class; the same name means the same counts.
        portable: whether the files are the same on every machine class, but for numbers in them.
        int8_saturates: whether int8 products overflow on this machine, where that is known.
        details: what else the record holds.
        base: values of metrics that a base measured beside this run; None without a base.
        cpus: the number of processors that a latency process ran on, where it was told.
        timing: what pytest-benchmark measured.
        file: the stored file, as people type its path; None of a run that is not stored.
    """

    key: Key
    name: str
    nodeid: str
    machine_class: str
    arithmetic: str
    conditions: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    provenance: Provenance
    weights: str = "unknown"
    source: Mapping[str, Any] = field(default_factory=dict)
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    images: int | None = None
    ranks: Ranks | None = None
    scores: Scores | None = None
    kernel_library: str | None = None
    portable: bool = True
    int8_saturates: bool | None = None
    details: Details = NO_DETAILS
    base: Mapping[str, float] | None = None
    cpus: int | None = None
    timing: Timing = Timing()
    file: str | None = None

    @property
    def variant(self) -> str:
        """The variant that was measured."""
        return self.key.variant

    @property
    def engine(self) -> str:
        """The engine that executed the variant."""
        return str(self.conditions["engine"])

    @property
    def by_image(self) -> Ranks | Scores | None:
        """Accuracy image by image, where it was measured."""
        return self.ranks or self.scores

    @property
    def images_digest(self) -> str | None:
        """Digest of the test split that accuracy was measured on."""
        return self.by_image.images if self.by_image else None

    def about(self) -> dict[str, Any]:
        """What was measured, and under what, as all records hold it."""
        return {
            **self.key._asdict(),
            **self.conditions,
            "weights": self.weights,
            "source": dict(self.source),
            "arithmetic": self.arithmetic,
            "kernel_library": self.kernel_library,
            "portable": self.portable,
            "images": self.images,
            "int8_saturates": self.int8_saturates,
            "cpus": self.cpus,
        }

    def as_extra_info(self) -> dict[str, Any]:
        """What pytest-benchmark's record of the benchmark holds for ``entry`` to read."""
        info = {
            **self.about(),
            "machine_class": self.machine_class,
            "provenance": self.provenance.as_record(),
            "unmeasured": dict(self.unmeasured),
            "metrics": {name: metric.as_record() for name, metric in self.metrics.items()},
            **self.details.as_record(),
        }
        if self.by_image is not None:
            info["ranks"] = self.by_image.as_record()
        if self.base is not None:
            info["base"] = dict(self.base)
        return info


def bench_name(name: str, network: str, variant: str) -> str:
    """The name of a bench without its network, which pytest shows in a session with several."""
    return name.replace(f"[{network}-{variant}", f"[{variant}", 1)


class MalformedEntry(UserError):
    """A benchmark's record is not what ``entry`` reads."""


def entry(benchmark: Mapping[str, Any], *, file: str | None = None) -> Entry:
    """Read one benchmark of a run record.

    Args:
        benchmark: its ``fullname``, ``name`` and ``extra_info``, and what ``Timing`` holds.
        file: the stored file, as people type its path.

    Raises:
        MalformedEntry: the record lacks a value, or holds a wrong one.
    """
    try:
        extra_info = benchmark["extra_info"]
        by_image = extra_info.get("ranks")
        kept = None if by_image is None else read_by_image(by_image)
        return Entry(
            key=Key(
                str(extra_info["network"]),
                str(extra_info["bench"]),
                str(extra_info["variant"]),
                int(extra_info["batch_size"]),
            ),
            name=bench_name(
                str(benchmark["name"]), str(extra_info["network"]), str(extra_info["variant"])
            ),
            nodeid=str(benchmark["fullname"]),
            machine_class=str(extra_info.get("machine_class")),
            arithmetic=str(extra_info.get("arithmetic")),
            conditions={key: scalar(extra_info.get(key)) for key in COMPARABILITY_KEYS},
            metrics={
                name: Metric.from_record(record) for name, record in extra_info["metrics"].items()
            },
            provenance=Provenance.from_record(extra_info.get("provenance") or {}),
            weights=str(extra_info.get("weights", "unknown")),
            source=dict(extra_info.get("source") or {}),
            unmeasured=dict(extra_info.get("unmeasured", {})),
            images=optional(int, extra_info.get("images")),
            ranks=kept if isinstance(kept, Ranks) else None,
            scores=kept if isinstance(kept, Scores) else None,
            kernel_library=extra_info.get("kernel_library"),
            portable=bool(extra_info.get("portable", True)),
            int8_saturates=extra_info.get("int8_saturates"),
            details=Details.from_record(extra_info),
            base=optional(values, extra_info.get("base")),
            cpus=extra_info.get("cpus"),
            timing=Timing(
                group=benchmark.get("group"),
                param=benchmark.get("param"),
                params=benchmark.get("params"),
                stats=dict(benchmark.get("stats") or {}),
                seconds=tuple(map(float, (benchmark.get("stats") or {}).get("data") or ())),
            ),
            file=file,
        )
    except KeyError as error:
        raise MalformedEntry(f"an entry lacks {error}") from None
    except (UserError, TypeError, ValueError, AttributeError) as error:
        raise MalformedEntry(str(error)) from None


def read_by_image(record: Mapping[str, Any]) -> Ranks | Scores:
    """Read accuracy image by image.

    Raises:
        UserError: it is damaged.
    """
    return Scores.from_record(record) if "scores" in record else Ranks.from_record(record)


def scalar(value: Any) -> Any:
    """A value of a record that is no list and no mapping."""
    if isinstance(value, list | dict):
        raise TypeError(f"{value!r} is no single value")
    return value


def optional(convert: Callable[[Any], T], value: Any) -> T | None:
    """A converted value; None where a record has none."""
    return None if value is None else convert(value)


def values(record: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by name."""
    return {str(name): float(value) for name, value in record.items()}
