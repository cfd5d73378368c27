"""Anytime curves as a picture: median gap against what was spent, one panel per problem and kind of budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dna.report.svg import LINE, QUIET, Svg
from dna.search.compare import Curve

COLOURS = {
    "default": "#22303c",
    "counterfactual": "#3a76b8",
    "evolutionary": "#6a9a48",
    "bayesian": "#8a6fb0",
    "reinforce": "#e0a030",
    "paper": "#b5543c",
    "random": "#8796a4",
}
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 400.0, 190.0, 64.0, 64.0, 62.0
FLOOR, CEILING = 1e-3, 10.0
"""Gaps drawn: below the floor is the optimum, above the ceiling nothing worth the name was found."""


@dataclass(frozen=True)
class Panel:
    """One problem with one kind of budget: a curve per method."""

    title: str
    unit: str
    curves: Mapping[str, Curve]


class Plot(Svg):
    """A picture that can also hold curves and areas."""

    def curve(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.6) -> None:
        self._shapes.append(
            f'<polyline points="{_path(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}"'
            ' stroke-linejoin="round"/>'
        )

    def area(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        self._shapes.append(f'<polygon points="{_path(points)}" fill="{colour}" fill-opacity="0.13" stroke="none"/>')


def anytime_chart(title: str, panels: Sequence[Sequence[Panel]]) -> str:
    """The SVG of a table of panels; all have logarithmic axes, medians as lines and their intervals as bands."""
    columns = max(len(row) for row in panels)
    plot = Plot(LEFT + columns * (PANEL_WIDTH + GAP), TOP + len(panels) * (PANEL_HEIGHT + GAP) - 8, title)
    names = [name for name in COLOURS if any(name in panel.curves for row in panels for panel in row)]
    for index, name in enumerate(names):
        plot.rect(LEFT + index * 128, 16, 12, 12, COLOURS[name], "none", 2)
        plot.text(LEFT + index * 128 + 18, 26, name, 12)
    for y, row in enumerate(panels):
        for x, panel in enumerate(row):
            _draw(plot, panel, LEFT + x * (PANEL_WIDTH + GAP), TOP + y * (PANEL_HEIGHT + GAP))
    return plot.render()


def _draw(plot: Plot, panel: Panel, left: float, top: float) -> None:
    """One panel with its frame, ticks and curves."""
    grid = next(iter(panel.curves.values())).grid
    span = math.log10(grid[-1] / grid[0])
    plot.rect(left, top, PANEL_WIDTH, PANEL_HEIGHT, radius=2)
    plot.text(left, top - 8, panel.title, 12, bold=True)
    for gap in (0.001, 0.01, 0.1, 1.0, 10.0):
        y = _y(gap, top)
        plot.curve([(left, y), (left + PANEL_WIDTH, y)], LINE, 0.5)
        plot.text(left - 6, y + 4, "optimum" if gap == FLOOR else f"{100 * gap:g} %", 10, QUIET, "end")
    for exponent in range(math.ceil(math.log10(grid[0]) - 1e-9), math.floor(math.log10(grid[-1]) + 1e-9) + 1):
        x = left + PANEL_WIDTH * (exponent - math.log10(grid[0])) / span
        plot.curve([(x, top), (x, top + PANEL_HEIGHT)], LINE, 0.5)
        plot.text(x, top + PANEL_HEIGHT + 14, f"{10.0**exponent:,.10g}", 10, QUIET, "middle")
    plot.text(left + PANEL_WIDTH, top + PANEL_HEIGHT + 28, panel.unit, 10, QUIET, "end")
    places = [left + PANEL_WIDTH * math.log10(value / grid[0]) / span for value in grid]
    for name in reversed([name for name in COLOURS if name in panel.curves]):
        points = panel.curves[name].points
        low, middle, high = (
            [(x, _y(getattr(point, which), top)) for x, point in zip(places, points, strict=True)]
            for which in ("low", "median", "high")
        )
        plot.area(low + high[::-1], COLOURS[name])
        plot.curve(middle, COLOURS[name], 2.2 if name == "default" else 1.6)


def _y(gap: float, top: float) -> float:
    share = math.log10(min(max(gap, FLOOR), CEILING) / FLOOR) / math.log10(CEILING / FLOOR)
    return top + PANEL_HEIGHT * (1 - share)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
