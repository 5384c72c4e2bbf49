"""Accuracy against a ratio to fp32, of the variants of a run and the models of the study."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from qmodels.gate import Run
from qmodels.report import study
from qmodels.report.choice import Candidate, candidates
from qmodels.system.defaults import REFERENCE

HERE, STUDY = "this run", "the study"


@dataclass(frozen=True)
class Point:
    """One model: the change of its accuracy against fp32, and a ratio to fp32.

    Attributes:
        x: the ratio, with the ends of its interval.
        y: points of top-1 or percent of the score, with the ends of their interval.
        front: whether no other point of the run is as good in both and better in one.
    """

    variant: str
    arithmetic: str
    source: str
    x: float
    x_low: float
    x_high: float
    y: float
    y_low: float
    y_high: float
    front: bool = False


def points(run: Run, prefer: str) -> list[Point]:
    """The variants of a run, and for networks of qmodels the study's models, by a ratio to fp32.

    Args:
        prefer: ``latency`` with one image, or ``size``.
    """
    measured = candidates(run, 1)
    reference = measured.get(REFERENCE)
    if reference is None or prefer not in reference.metrics:
        return []
    of_run = [
        _point(candidate, prefer, reference.value(prefer))
        for candidate in measured.values()
        if prefer in candidate.metrics
    ]
    marked = [Point(**(asdict(p) | {"front": _on_front(p, of_run)})) for p in of_run]
    packaged = any(
        str(entry.source.get("function")).startswith("qmodels.") for entry in run.entries.values()
    )
    models = study.MODELS if packaged else ()
    # Points that come later are drawn above: fp32's own above that of the study.
    return [_of_study(model, prefer) for model in models] + marked


def _point(candidate: Candidate, prefer: str, unit: float) -> Point:
    metric, drop = candidate.metrics[prefer], candidate.drop
    low, high = metric.ci or (metric.value, metric.value)
    least, most = drop.ci or (drop.value, drop.value)
    if candidate.variant == REFERENCE:  # fp32 does not differ from itself
        least = most = drop.value
    return Point(
        candidate.variant,
        candidate.arithmetic,
        HERE,
        *(metric.value / unit, low / unit, high / unit),
        *(-drop.value + 0, -most + 0, -least + 0),
    )


def _of_study(model: study.Model, prefer: str) -> Point:
    """A model of the study, which gives no intervals."""
    if prefer == "latency":
        ratio = model.latency_ms / study.BASELINE.latency_ms
    else:
        ratio = model.size_mb / study.BASELINE.size_mb
    change = model.top1 - study.BASELINE.top1
    arithmetic = "int8" if "int8" in model.variant and "dynamic" not in model.variant else "float32"
    return Point(
        f"{model.name} (study)", arithmetic, STUDY, *(ratio,) * 3, *(round(change, 2) + 0,) * 3
    )


def _on_front(candidate: Point, others: Iterable[Point]) -> bool:
    """Whether nothing else is as good in both and better in one."""
    return not any(
        other.x <= candidate.x
        and other.y >= candidate.y
        and (other.x, other.y) != (candidate.x, candidate.y)
        for other in others
    )
