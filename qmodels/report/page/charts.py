"""Charts of a run: Vega-Lite specifications, written by Altair."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import altair as alt
import numpy as np

from qmodels.gate import LayerSqnr
from qmodels.report.accuracy import Accuracy
from qmodels.report.page.trade_off import HERE, STUDY, Point

Spec = dict[str, Any]
_Side = Literal["left", "right"]
# Of arithmetic. Each has a contrast of 3 to 1 on white and on the dark page.
_COLORS = {
    "float32": "#3d7cc9",
    "float16": "#2f8f5b",
    "bfloat16": "#8a6ad0",
    "int8": "#cf4b4b",
}
_OTHER_COLOR = "#7d7d7d"
_TWO_COLORS = [_COLORS["int8"], _COLORS["float32"]]
_MOST_BINS = 40
# For the columns of names beside a picture: how far they lie outside of the points.
_MARGIN = 2.6


def distribution(sides: Mapping[str, Sequence[float]]) -> Spec:
    """The distribution of the times of single forwards.

    Args:
        sides: seconds, by who took them: head and base.
    """
    low = min(np.min(seconds) for seconds in sides.values())
    high = max(np.quantile(seconds, 0.99) for seconds in sides.values())
    fewest = min(len(seconds) for seconds in sides.values())
    bins = min(_MOST_BINS, math.ceil(2 * fewest ** (1 / 3)))  # Rice's rule
    edges = np.linspace(low, max(high, 1.001 * low), bins + 1)
    values = []
    for side, seconds in sides.items():
        counts, _ = np.histogram(np.clip(seconds, edges[0], edges[-1]), edges)
        shares = 100 * counts / len(seconds)
        values += [
            {"side": side, "from": left, "to": right, "share": share}
            for left, right, share in zip(*(1e3 * edges[:-1], 1e3 * edges[1:], shares), strict=True)
        ]
    chart = _chart(values, height=160)
    return _spec(
        "Share of forwards by their time",
        chart.mark_bar(opacity=0.55, aria=False).encode(
            alt.X("from:Q")
            .bin("binned")
            .title("ms of a forward")
            .axis(tickCount=6)
            .scale(zero=False),
            alt.X2("to"),
            alt.Y("share:Q").stack(None).title("% of forwards"),
            alt.Color("side:N")
            .title(None)
            .scale(domain=list(sides), range=_TWO_COLORS[: len(sides)]),
        ),
    )


def noise(layers: Sequence[LayerSqnr]) -> Spec:
    """The SQNR of each layer, in the order that they ran."""
    sources = ["quantization", "runtime"]
    values = [
        {"index": index, "layer": layer.layer, "source": source, "db": value}
        for index, layer in enumerate(layers)
        for source, value in zip(sources, (layer.quantization_db, layer.runtime_db), strict=True)
        if value is not None
    ]
    chart = _chart(values, height=160)
    return _spec(
        "SQNR of each layer, in decibels",
        chart.mark_line(point=True, aria=False).encode(
            alt.X("index:Q").title("layer, in order"),
            alt.Y("db:Q").title("SQNR, dB"),
            alt.Color("source:N").title("error of").scale(domain=sources, range=_TWO_COLORS),
            tooltip=[
                alt.Tooltip("layer:N"),
                alt.Tooltip("source:N").title("error of"),
                alt.Tooltip("db:Q").title("SQNR, dB").format(".1f"),
            ],
        ),
    )


def trade_off(points: Sequence[Point], title: str, accuracy: Accuracy) -> Spec:
    """Accuracy against a ratio to fp32, with intervals and the Pareto front."""
    plot = _axes(points, [asdict(point) for point in points], title, accuracy)
    sides: tuple[tuple[str, _Side, int], ...] = (("<", "left", 8), (">=", "right", -8))
    names = [
        plot.transform_filter(f"datum.front && datum.x {side} {_middle(points)}")
        .mark_text(align=align, dx=dx, dy=10, limit=140)
        .encode(text="variant:N", color=alt.value(_OTHER_COLOR))
        for side, align, dx in sides
        # Vega warns of a layer without data.
        if any(p.front and (p.x < _middle(points)) == (side == "<") for p in points)
    ]
    chart = alt.layer(*_points(plot, points, accuracy), *names)
    return _spec(_description(title, accuracy), chart)


def labelled(points: Sequence[Point], title: str, accuracy: Accuracy) -> Spec:
    """``trade_off`` as a picture of its own: 760 pixels wide, on white, with every name.

    Names stand in columns at both sides, from top to bottom as their points are: points of equal
    speed lie on one another.
    """
    bottom, top = min(point.y_low for point in points), max(point.y_high for point in points)
    ends = min(point.x_low for point in points), max(point.x_high for point in points)
    sides: dict[_Side, float] = {"left": ends[0] / _MARGIN, "right": _MARGIN * ends[1]}
    columns: dict[_Side, list[Point]] = {"left": [], "right": []}
    for point in sorted(points, key=lambda point: -point.y):
        columns["left" if point.x < _middle(points) else "right"].append(point)
    values = [
        {
            **asdict(point),
            "side": side,
            "label_x": sides[side],
            "label_y": top - (top - bottom) * (index + 0.5) / len(column),
        }
        for side, column in columns.items()
        for index, point in enumerate(column)
    ]
    plot = _axes(points, values, title, accuracy, domain=list(sides.values()))
    at_label = plot.encode(_field(plot, "x", "label_x"), _field(plot, "y", "label_y"))
    leaders = at_label.mark_rule(opacity=0.3).encode(x2="x", y2="y", color=alt.value(_OTHER_COLOR))
    names = [
        at_label.transform_filter(alt.datum.side == side)
        .mark_text(align=side, stroke="white", strokeWidth=width)
        .encode(text="variant:N")
        for side in columns
        for width in (4, 0)  # white behind the letters, then they
    ]
    picture = alt.layer(leaders, *_points(plot, points, accuracy), *names)
    picture = picture.properties(width=760, height=400, background="white")
    return _spec(_description(title, accuracy), picture)


def _axes(
    points: Sequence[Point],
    values: Sequence[Mapping[str, Any]],
    title: str,
    accuracy: Accuracy,
    domain: list[float] | None = None,
) -> alt.Chart:
    """The axes of accuracy and of the ratio, and the colors; no mark.

    Args:
        values: a row for each point.
        domain: of the ratio; by default that of the points.
    """
    arithmetics = sorted({point.arithmetic for point in points})
    extent = {"domain": domain} if domain else {"padding": 24}
    return _chart(values).encode(
        alt.X("x:Q")
        .title(title)
        .scale(type="log", nice=False, **extent)
        .axis(values=_ticks(points), format="~g"),
        alt.Y("y:Q")
        .title(f"change of {accuracy.label} against fp32, {accuracy.drop.unit}")
        .scale(zero=True, padding=12),
        alt.Color("arithmetic:N")
        .title("arithmetic")
        .legend(symbolOpacity=1)
        .scale(domain=arithmetics, range=[_COLORS.get(name, _OTHER_COLOR) for name in arithmetics]),
    )


def _points(plot: alt.Chart, points: Sequence[Point], accuracy: Accuracy) -> list[alt.Chart]:
    sources = [name for name in (HERE, STUDY) if any(point.source == name for point in points)]
    ratios = (("x", "ratio to fp32"), ("x_low", "from"), ("x_high", "to"))
    changes = (("y", f"change of {accuracy.label}"), ("y_low", "from "), ("y_high", "to "))
    intervals = plot.transform_filter(alt.datum.source == HERE).mark_rule(opacity=0.8, aria=False)
    return [
        plot.transform_filter(alt.datum.front)
        .mark_line(interpolate="step-after", aria=False)
        .encode(order="x:Q", color=alt.value(_OTHER_COLOR)),
        intervals.encode(_field(plot, "y", "y_low"), alt.Y2("y_high")),
        intervals.encode(_field(plot, "x", "x_low"), alt.X2("x_high")),
        plot.mark_point(filled=True, opacity=1, size=90, cursor="pointer").encode(
            alt.Shape("source:N")
            .title("measured by")
            .legend(symbolFillColor=_OTHER_COLOR, orient="bottom")
            .scale(domain=sources, range=["circle", "diamond"]),
            description="variant:N",
            tooltip=[
                alt.Tooltip("variant:N").title("variant"),
                *(alt.Tooltip(f"{name}:Q", title=label, format=".3f") for name, label in ratios),
                *(alt.Tooltip(f"{name}:Q", title=label, format="+.2f") for name, label in changes),
            ],
        ),
    ]


def _field(plot: alt.Chart, channel: str, field: str) -> Any:
    """An axis of a plot, for another field."""
    copy = plot.encoding[channel].copy()
    copy.shorthand = f"{field}:Q"
    return copy


def _description(title: str, accuracy: Accuracy) -> str:
    return f"Change of {accuracy.label} by {title}, for each variant"


def _chart(values: Sequence[Mapping[str, Any]], height: int = 340) -> alt.Chart:
    data: alt.Data = alt.Data(values=values)  # type: ignore[no-untyped-call]
    return alt.Chart(data, width="container", height=height)


def _spec(description: str, chart: alt.Chart | alt.LayerChart | alt.FacetChart) -> Spec:
    """A chart in the page's style. Text and lines take the page's colors by its style sheet."""
    sizes = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    spec: Spec = (
        chart.properties(description=description)
        .configure(font="system-ui, sans-serif", background="transparent")
        .configure_view(stroke=None)
        .configure_axis(**sizes)
        .configure_legend(orient="top", **sizes)
        .to_dict()
    )
    return spec


def _middle(points: Sequence[Point]) -> float:
    """The middle of a logarithmic axis."""
    return math.sqrt(min(p.x_low for p in points) * max(p.x_high for p in points))


def _ticks(points: Sequence[Point]) -> list[float]:
    low = min(point.x_low for point in points)
    high = max(point.x_high for point in points)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return [value for value in values if low / 1.5 <= value <= high * 1.5]
