"""Charts of a run as Vega-Lite specifications."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qmodels.gate import LayerSqnr

Spec = dict[str, Any]
VERSION = "6.4"
SCHEMA = f"https://vega.github.io/schema/vega-lite/v{VERSION}.json"
# Of arithmetic. Each has a contrast of 3 to 1 on white and on the dark page.
COLORS = {
    "float32": "#3d7cc9",
    "float16": "#2f8f5b",
    "bfloat16": "#8a6ad0",
    "int8": "#cf4b4b",
}
OTHER_COLOR = "#7d7d7d"
HERE = "this run"
MOST_BINS = 40
HEIGHT = 340


def distribution(sides: Mapping[str, Sequence[float]]) -> Spec:
    """How long single forwards took.

    Args:
        sides: seconds, by who took them: head and base.
    """
    low = min(np.min(seconds) for seconds in sides.values())
    high = max(np.quantile(seconds, 0.99) for seconds in sides.values())
    fewest = min(len(seconds) for seconds in sides.values())
    bins = min(MOST_BINS, math.ceil(2 * fewest ** (1 / 3)))  # Rice's rule
    edges = np.linspace(low, max(high, 1.001 * low), bins + 1)
    values = []
    for side, seconds in sides.items():
        counts, _ = np.histogram(np.clip(seconds, edges[0], edges[-1]), edges)
        values += [
            {
                "side": side,
                "from": 1e3 * float(left),
                "to": 1e3 * float(right),
                "share": 100 * int(count) / len(seconds),
            }
            for left, right, count in zip(edges, edges[1:], counts, strict=False)
        ]
    return {
        **base("Share of forwards by their time", height=160),
        "data": {"values": values},
        "mark": {"type": "bar", "opacity": 0.55, "aria": False},
        "encoding": {
            "x": {
                "field": "from",
                "type": "quantitative",
                "bin": "binned",
                "axis": {"tickCount": 6},
                "title": "ms of a forward",
                "scale": {"zero": False},
            },
            "x2": {"field": "to"},
            "y": {
                "field": "share",
                "type": "quantitative",
                "stack": None,
                "title": "% of forwards",
            },
            "color": {
                "field": "side",
                "title": None,
                "scale": {
                    "domain": list(sides),
                    "range": [COLORS["int8"], COLORS["float32"]][: len(sides)],
                },
            },
        },
    }


def noise(layers: Sequence[LayerSqnr]) -> Spec:
    """The SQNR of each layer, in the order that they ran."""
    values = [
        {"index": index, "layer": layer.layer, "source": source, "db": value}
        for index, layer in enumerate(layers)
        for source, value in (
            ("quantization", layer.quantization_db),
            ("runtime", layer.runtime_db),
        )
        if value is not None
    ]
    return {
        **base("SQNR of each layer, in decibels", height=160),
        "data": {"values": values},
        "mark": {"type": "line", "point": True, "aria": False},
        "encoding": {
            "x": {"field": "index", "type": "quantitative", "title": "layer, in order"},
            "y": {"field": "db", "type": "quantitative", "title": "SQNR, dB"},
            "color": {
                "field": "source",
                "title": "error of",
                "scale": {
                    "domain": ["quantization", "runtime"],
                    "range": [COLORS["int8"], COLORS["float32"]],
                },
            },
            "tooltip": [
                {"field": "layer"},
                {"field": "source", "title": "error of"},
                {"field": "db", "title": "SQNR, dB", "format": ".1f"},
            ],
        },
    }


def base(description: str, *, height: int = HEIGHT) -> Spec:
    """What all charts share. Text and lines take the page's colours by its style sheet."""
    return {
        "$schema": SCHEMA,
        "description": description,
        "width": "container",
        "height": height,
        "background": None,
        "config": {
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
            "legend": {
                "orient": "top",
                "labelFontSize": 12,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
            },
        },
    }
