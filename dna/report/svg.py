"""A few shapes, enough for our pictures: a small SVG writer without dependencies."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Literal

INK = "#22303c"
QUIET = "#6b7a88"
PAPER = "#ffffff"
LINE = "#b8c4ce"
FONT = "ui-sans-serif, system-ui, Helvetica, Arial, sans-serif"

Anchor = Literal["start", "middle", "end"]


@dataclass
class Svg:
    """A picture of `width` x `height` pixels; shapes are drawn in the order in which they are added."""

    width: float
    height: float
    title: str
    """For readers who cannot see it."""
    _shapes: list[str] = field(default_factory=list)

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str = PAPER, stroke: str = LINE, radius: float = 5
    ) -> None:
        self._shapes.append(
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(0, width))}" height="{_n(height)}" rx="{_n(radius)}"'
            f' fill="{fill}" stroke="{stroke}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 12,
        fill: str = INK,
        anchor: Anchor = "start",
        bold: bool = False,
    ) -> None:
        """One line with its baseline at `y`."""
        weight = ' font-weight="600"' if bold else ""
        self._shapes.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{escape(text)}</text>"
        )

    def lines(self, x: float, y: float, texts: tuple[str, ...], size: float = 11, anchor: Anchor = "start") -> None:
        """The first line bold, the others quiet, one under the other."""
        for index, text in enumerate(texts):
            self.text(x, y + index * size * 1.35, text, size, INK if index == 0 else QUIET, anchor, bold=index == 0)

    def arrow(self, *points: tuple[float, float], colour: str = QUIET) -> None:
        """A line through the points, with a head at the last one."""
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" marker-end="url(#head)"/>')

    def line(self, *points: tuple[float, float], colour: str = QUIET) -> None:
        """A line through the points."""
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')

    def render(self) -> str:
        """The SVG document, also fit to stand inside HTML."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
                f' width="{_n(self.width)}" height="{_n(self.height)}" role="img" font-family="{FONT}">',
                f"<title>{escape(self.title)}</title>",
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
                f' orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="{QUIET}"/></marker></defs>',
                f'<rect width="{_n(self.width)}" height="{_n(self.height)}" rx="8" fill="#f7f9fb"/>',
                *self._shapes,
                "</svg>",
                "",
            ]
        )


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
