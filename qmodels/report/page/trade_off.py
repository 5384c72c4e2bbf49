"""Accuracy against a ratio to fp32, of the variants of a run and the models of the study."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from qmodels.gate import Run
from qmodels.gate.latency import REFERENCE
from qmodels.report import study
from qmodels.report.accuracy import Accuracy
from qmodels.report.choice import Candidate, candidates
from qmodels.report.page.charts import COLORS, HERE, OTHER_COLOR, Spec, base

STUDY = "the study"


@dataclass(frozen=True)
class Point:
    """One model: the change of its accuracy against fp32, and a ratio to fp32.

    Attributes:
        source: ``HERE`` or ``STUDY``.
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
        point(candidate, prefer, reference.value(prefer))
        for candidate in measured.values()
        if prefer in candidate.metrics
    ]
    marked = [Point(**(asdict(p) | {"front": on_front(p, of_run)})) for p in of_run]
    packaged = any(
        str(entry.source.get("function")).startswith("qmodels.") for entry in run.entries.values()
    )
    models = study.MODELS if packaged else ()
    # Points that come later are drawn above: fp32's own above that of the study.
    return [of_study(model, prefer) for model in models] + marked


def point(candidate: Candidate, prefer: str, unit: float) -> Point:
    """A variant of the run."""
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


def of_study(model: study.Model, prefer: str) -> Point:
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


def on_front(candidate: Point, others: Iterable[Point]) -> bool:
    """Whether nothing else is as good in both and better in one."""
    return not any(
        other.x <= candidate.x
        and other.y >= candidate.y
        and (other.x, other.y) != (candidate.x, candidate.y)
        for other in others
    )


def trade_off(points: Sequence[Point], title: str, accuracy: Accuracy) -> Spec:
    """Accuracy against a ratio to fp32, with intervals and the Pareto front.

    Args:
        title: of the axis of the ratio.
    """
    x = {
        "field": "x",
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "nice": False, "padding": 24},
        "axis": {"values": ticks(points), "format": "~g"},
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "title": f"change of {accuracy.label} against fp32, {accuracy.drop.unit}",
        "scale": {"zero": True, "padding": 12},
    }
    sources = [name for name in (HERE, STUDY) if any(point.source == name for point in points)]
    arithmetics = sorted({point.arithmetic for point in points})
    color = {
        "field": "arithmetic",
        "title": "arithmetic",
        "legend": {"symbolOpacity": 1},
        "scale": {
            "domain": arithmetics,
            "range": [COLORS.get(name, OTHER_COLOR) for name in arithmetics],
        },
    }
    here = {"filter": f"datum.source == '{HERE}'"}
    front = {"filter": "datum.front"}
    y_labels = (("y", f"change of {accuracy.label}"), ("y_low", "from "), ("y_high", "to "))
    tooltip = [
        {"field": "variant", "title": "variant"},
        *({"field": name, "title": label, "format": ".3f"} for name, label in X_LABELS),
        *({"field": name, "title": label, "format": "+.2f"} for name, label in y_labels),
    ]
    rule = {"type": "rule", "opacity": 0.8, "aria": False}
    return {
        **base(f"Change of {accuracy.label} by {title}, for each variant"),
        "data": {"values": [asdict(point) for point in points]},
        "encoding": {"color": color},
        "layer": [
            {
                "transform": [front],
                "mark": {"type": "line", "interpolate": "step-after", "aria": False},
                "encoding": {
                    "x": x,
                    "y": y,
                    "order": {"field": "x"},
                    "color": {"value": OTHER_COLOR},
                },
            },
            {
                "transform": [here],
                "mark": rule,
                "encoding": {"x": x, "y": {**y, "field": "y_low"}, "y2": {"field": "y_high"}},
            },
            {
                "transform": [here],
                "mark": rule,
                "encoding": {"x": {**x, "field": "x_low"}, "x2": {"field": "x_high"}, "y": y},
            },
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "opacity": 1,
                    "size": 90,
                    "cursor": "pointer",
                },
                "encoding": {
                    "x": x,
                    "y": y,
                    "shape": {
                        "field": "source",
                        "title": "measured by",
                        "legend": {"symbolFillColor": OTHER_COLOR, "orient": "bottom"},
                        "scale": {"domain": sources, "range": ["circle", "diamond"]},
                    },
                    "tooltip": tooltip,
                    "description": {"field": "variant"},
                },
            },
            *(
                {
                    "transform": [front, {"filter": f"datum.x {side} {middle(points)}"}],
                    "mark": {"type": "text", "align": align, "dx": dx, "dy": 10, "limit": 140},
                    "encoding": {
                        "x": x,
                        "y": y,
                        "text": {"field": "variant"},
                        "color": {"value": OTHER_COLOR},
                    },
                }
                for side, align, dx in (("<", "left", 8), (">=", "right", -8))
                # Vega warns of a layer without data.
                if any(p.front and (p.x < middle(points)) == (side == "<") for p in points)
            ),
        ],
    }


def labelled(points: Sequence[Point], title: str, accuracy: Accuracy) -> Spec:
    """``trade_off`` as a picture of its own: 760 pixels wide, on white, with every name.

    Names stand in columns at both sides, from top to bottom as their points are: points of equal
    speed lie on one another.
    """
    spec = trade_off(points, title, accuracy)
    low, high = min(point.x_low for point in points), max(point.x_high for point in points)
    sides = {"left": low / 2.6, "right": 2.6 * high}
    bottom, top = min(point.y_low for point in points), max(point.y_high for point in points)
    columns: dict[str, list[Point]] = {"left": [], "right": []}
    for point in sorted(points, key=lambda point: -point.y):
        columns["left" if point.x < middle(points) else "right"].append(point)
    names = [
        {
            **asdict(point),
            "side": side,
            "label_x": sides[side],
            "label_y": top - (top - bottom) * (index + 0.5) / len(column),
        }
        for side, column in columns.items()
        for index, point in enumerate(column)
    ]
    *layers, points_layer = (part for part in spec["layer"] if part["mark"]["type"] != "text")
    x, y = points_layer["encoding"]["x"], points_layer["encoding"]["y"]
    x["scale"] |= {"domain": list(sides.values()), "padding": 0}
    at_label: Spec = {"x": {**x, "field": "label_x"}, "y": {**y, "field": "label_y"}}
    leaders: Spec = {
        "mark": {"type": "rule", "opacity": 0.3},
        "encoding": {
            **at_label,
            "x2": {"field": "x"},
            "y2": {"field": "y"},
            "color": {"value": OTHER_COLOR},
        },
    }
    texts: list[Spec] = [
        {
            "transform": [{"filter": f"datum.side == '{side}'"}],
            "mark": {"type": "text", "align": side, "stroke": "white", "strokeWidth": width},
            "encoding": {**at_label, "text": {"field": "variant"}},
        }
        for side in columns
        for width in (4, 0)  # white behind the letters, then they
    ]
    return {
        **spec,
        "data": {"values": names},
        "width": 760,
        "height": 400,
        "background": "white",
        "layer": [leaders, *layers, points_layer, *texts],
    }


X_LABELS = (("x", "ratio to fp32"), ("x_low", "from"), ("x_high", "to"))


def middle(points: Sequence[Point]) -> float:
    """The middle of a logarithmic axis."""
    return math.sqrt(min(p.x_low for p in points) * max(p.x_high for p in points))


def ticks(points: Sequence[Point]) -> list[float]:
    """Round values on a logarithmic axis."""
    low = min(point.x_low for point in points)
    high = max(point.x_high for point in points)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [digit * 10**decade for decade in decades for digit in (1, 2, 5)]
    return [value for value in values if low / 1.5 <= value <= high * 1.5]
