"""A Pareto set for people: a table, and a picture of two of its figures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from dna.report.charts import COLOURS
from dna.report.console import table
from dna.report.svg import LINE, PAPER, QUIET, Svg
from dna.search.figures import FIGURES

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640.0, 400.0, 80.0, 24.0, 34.0, 52.0
TICKS = 4
MARGIN = 0.05


def heading(name: str) -> str:
    """A figure's label with its unit."""
    figure = FIGURES[name]
    return f"{figure.label} ({figure.unit})" if figure.unit else figure.label


def people(names: Sequence[str], values: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Values as they are minimised (`dna.search.pareto`), turned back into figures."""
    signs = [-1 if FIGURES[name].highest else 1 for name in names]
    return [tuple(sign * value for sign, value in zip(signs, row, strict=True)) for row in values]


def pareto_table(names: Sequence[str], rows: Sequence[Sequence[float]], designs: Sequence[str]) -> Table:
    """One line per point: what the design is, and its figures. `rows`: figures as `people` gives them."""
    headings = tuple(heading(name) for name in names)
    result = table(*headings, "design", numbers=headings, title=f"Pareto set: {len(rows)} designs")
    for row, design in zip(rows, designs, strict=True):
        result.add_row(*(f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}" for value in row), design)
    return result


def pareto_chart(
    names: Sequence[str], rows: Sequence[Sequence[float]], others: Sequence[Sequence[float]] = (), title: str = ""
) -> str:
    """SVG: the first figure to the right, the second one up, the set in blue, `others` in grey.

    Further figures are not drawn.
    """
    svg = Svg(WIDTH, HEIGHT, title or f"Pareto set of {', '.join(FIGURES[name].label for name in names)}")
    every = [*rows, *others]
    across, up = (_Scale.of([row[axis] for row in every]) for axis in (0, 1))
    x_of, y_of = across.between(LEFT, WIDTH - RIGHT), up.between(HEIGHT - BOTTOM, TOP)
    svg.rect(LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, PAPER, LINE, 2)
    for value in across.ticks():
        svg.text(x_of(value), HEIGHT - BOTTOM + 16, f"{value:.3g}", 11, QUIET, "middle")
    for value in up.ticks():
        svg.text(LEFT - 8, y_of(value) + 4, f"{value:.3g}", 11, QUIET, "end")
    svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, heading(names[0]), 12, anchor="middle")
    svg.text(LEFT, TOP - 12, heading(names[1]), 12)
    for row in others:
        svg.rect(x_of(row[0]) - 2, y_of(row[1]) - 2, 4, 4, LINE, "none", 2)
    for row in rows:
        svg.rect(x_of(row[0]) - 4, y_of(row[1]) - 4, 8, 8, COLOURS[0], PAPER, 4)
    return svg.render()


class _Scale:
    """A linear axis with a little room at both ends."""

    def __init__(self, low: float, high: float) -> None:
        room = (high - low) * MARGIN or abs(high) * MARGIN or 1.0
        self.low, self.high = low - room, high + room

    @staticmethod
    def of(values: Sequence[float]) -> _Scale:
        return _Scale(min(values, default=0.0), max(values, default=1.0))

    def between(self, start: float, end: float):  # type: ignore[no-untyped-def]
        """The function from values to pixels."""
        return lambda value: start + (value - self.low) / (self.high - self.low) * (end - start)

    def ticks(self) -> list[float]:
        return [self.low + (self.high - self.low) * (i + 0.5) / TICKS for i in range(TICKS)]
