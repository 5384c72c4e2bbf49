"""A run as a picture: accuracy against latency, with the size as an area."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmodels.gate import Run
from qmodels.report import figure
from qmodels.report.speed import speeds
from qmodels.report.table import metric
from qmodels.system.errors import UserError

COLORS = {
    "float32": "#4c72b0",
    "float16": "#55a868",
    "bfloat16": "#8172b3",
    "int8": "#c44e52",
}
OTHER_COLOR = "#8c8c8c"
POINTS_PER_MB = 5.0  # area of a circle, in typographic points squared


@dataclass(frozen=True)
class Circle:
    """One variant.

    Attributes:
        arithmetic: what it multiplies.
        milliseconds: of one image.
        change: of top-1 against fp32, in points, negative where accuracy is lost.
        low, high: the ends of the 95 % interval of ``change``.
        megabytes: 10**6 bytes of the artifact.
    """

    name: str
    arithmetic: str
    milliseconds: float
    change: float
    low: float
    high: float
    megabytes: float

    @property
    def color(self) -> str:
        """Of its arithmetic."""
        return COLORS.get(self.arithmetic, OTHER_COLOR)


def circles(run: Run) -> list[Circle]:
    """The variants of which latency, accuracy and size were measured, fastest first.

    Raises:
        UserError: there are none.
    """
    arithmetic = {entry.variant: entry.arithmetic for entry in run.entries.values()}
    measured = []
    for name, speed in speeds(run).get(1, {}).items():
        drop, size = metric(run, name, "top1_drop"), metric(run, name, "size_bytes")
        if drop is None or size is None:
            continue
        low, high = drop.ci or (drop.value, drop.value)
        measured.append(
            Circle(
                name,
                arithmetic[name],
                speed.milliseconds,
                -drop.value,
                -high,
                -low,
                size.value / 1e6,
            )
        )
    if not measured:
        raise UserError(
            "the run has no variant with latency, accuracy and size: run `pytest benches` whole"
        )
    return sorted(measured, key=lambda circle: circle.milliseconds)


def draw(run: Run, path: Path) -> None:
    """Draw the run as SVG.

    Raises:
        Unavailable: matplotlib is not installed.
        UserError: the run has nothing to draw, or the file cannot be written.
    """
    variants = circles(run)
    with figure.axes(path, size=(8.0, 4.6)) as axes:
        for circle in variants:
            axes.errorbar(
                circle.milliseconds,
                circle.change,
                yerr=[[circle.change - circle.low], [circle.high - circle.change]],
                color="#bbbbbb",
                linewidth=0.8,
                zorder=1,
            )
            axes.scatter(
                circle.milliseconds,
                circle.change,
                s=POINTS_PER_MB * circle.megabytes,
                color=circle.color,
                alpha=0.65,
                linewidth=0,
                zorder=2,
            )
        axes.set_xscale("log")
        # Room for the labels inside the axes, at both sides.
        axes.set_xlim(variants[0].milliseconds / 2.4, variants[-1].milliseconds * 2.2)
        axes.set_xlabel("milliseconds for one image")
        axes.set_ylabel("change of top-1 against fp32, points")
        axes.axhline(0, color="#999999", linewidth=0.6, zorder=0)
        ticks = [1, 2, 5, 10, 20, 50, 100, 200]
        low, high = axes.get_xlim()
        axes.set_xticks([tick for tick in ticks if low <= tick <= high])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        # Labels stand in two columns: circles of equal speed lie on one another.
        middle = (low * high) ** 0.5
        label(axes, [c for c in variants if c.milliseconds < middle], "left")
        label(axes, [c for c in variants if c.milliseconds >= middle], "right")
        legend(axes, variants)


def label(axes: Any, variants: Sequence[Circle], side: str) -> None:
    """Write names in a column at one side, from top to bottom as the circles are."""
    ordered = sorted(variants, key=lambda circle: -circle.change)
    for index, circle in enumerate(ordered):
        axes.annotate(
            f"{circle.name}, {circle.megabytes:.0f} MB",
            (circle.milliseconds, circle.change),
            xytext=(0.01 if side == "left" else 0.99, 1 - (index + 0.5) / len(ordered)),
            textcoords="axes fraction",
            ha=side,
            va="center",
            fontsize=8,
            color=circle.color,
            bbox={"pad": 0.8, "color": "white"},
            arrowprops={
                "arrowstyle": "-",
                "color": "#bbbbbb",
                "linewidth": 0.5,
                "relpos": (1 if side == "left" else 0, 0.5),
            },
        )


def legend(axes: Any, variants: Sequence[Circle]) -> None:
    """Explain the colours, and what an area means."""
    for arithmetic, color in {circle.arithmetic: circle.color for circle in variants}.items():
        axes.scatter([], [], s=40, color=color, label=arithmetic)
    axes.legend(title="arithmetic; area: size", ncols=3, loc="lower center", fontsize=8)
