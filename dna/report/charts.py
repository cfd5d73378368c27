"""Bar charts: where each layer's cycles go, and how much of the board is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dna.report.svg import QUIET, Svg

COLOURS = ("#3a76b8", "#e0a030", "#b5543c", "#6a9a48", "#8a6fb0", "#8796a4")
WIDTH, ROW, LABEL, BAR = 960.0, 24.0, 210.0, 600.0


def stacked_bars(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], unit: str) -> str:
    """One bar per row, its parts in a fixed order and colour; the longest row fills the width."""
    parts = list(dict.fromkeys(part for _, values in rows for part in values))
    longest = max((sum(values.values()) for _, values in rows), default=0) or 1
    svg = Svg(WIDTH, 52 + ROW * len(rows), title)
    for index, part in enumerate(parts):
        x = LABEL + index * (WIDTH - LABEL) / len(parts)
        svg.rect(x, 14, 12, 12, COLOURS[index % len(COLOURS)], "none", 2)
        svg.text(x + 18, 24, part, 12)
    for index, (label, values) in enumerate(rows):
        y, x = 40 + index * ROW, LABEL
        svg.text(LABEL - 10, y + 13, label, 12, anchor="end")
        for part, value in values.items():
            width = BAR * value / longest
            svg.rect(x, y, width, ROW - 7, COLOURS[parts.index(part) % len(COLOURS)], "none", 1)
            x += width
        svg.text(x + 8, y + 13, f"{sum(values.values()):,.0f} {unit}", 11, QUIET)
    return svg.render()


def share_bars(title: str, rows: Sequence[tuple[str, float, float]]) -> str:
    """(name, used, available) per row, each against its own limit."""
    svg = Svg(WIDTH, 24 + ROW * len(rows), title)
    for index, (name, used, available) in enumerate(rows):
        y, share = 12 + index * ROW, used / available if available else 0.0
        svg.text(LABEL - 10, y + 13, name, 12, anchor="end")
        svg.rect(LABEL, y, BAR, ROW - 7, "#e4e9ee", "none", 2)
        svg.rect(LABEL, y, BAR * min(1.0, share), ROW - 7, COLOURS[2] if share > 1 else COLOURS[0], "none", 2)
        svg.text(LABEL + BAR + 8, y + 13, f"{amount(used)} of {amount(available)} ({share:.1%})", 11, QUIET)
    return svg.render()


def amount(value: float) -> str:
    """A count as it is, a measure with three digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"


def steps(title: str, points: Sequence[tuple[float, float]], bound: float | None, unit: str, end: float) -> str:
    """A value that falls over the seconds, (second, value) at each improvement, as steps up to `end`; its lower bound
    as a line. Both axes begin at 0."""
    svg = Svg(WIDTH, 200, title)
    left, top, width, height = 110.0, 24.0, 780.0, 130.0
    most = max((value for _, value in points), default=0) or 1
    last = max(end, *(second for second, _ in points), 1e-9) if points else max(end, 1e-9)

    def place(second: float, value: float) -> tuple[float, float]:
        return left + width * min(1.0, second / last), top + height * (1 - value / most)

    svg.line((left, top), (left, top + height), (left + width, top + height), colour=QUIET)
    if points:
        corners = [place(*points[0])]
        for second, value in points[1:]:
            x, y = place(second, value)
            corners += [(x, corners[-1][1]), (x, y)]
        svg.line(*corners, (left + width, corners[-1][1]), colour=COLOURS[0])
        svg.text(left + width, corners[-1][1] - 6, f"{points[-1][1]:,.0f} {unit}", 11, anchor="end")
    if bound is not None:
        y = place(0, min(bound, most))[1]
        svg.line((left, y), (left + width, y), colour=COLOURS[2])
        svg.text(left + 6, y + 13, f"lower bound {bound:,.0f}", 11, COLOURS[2])
    svg.text(left - 8, top + 5, f"{most:,.0f}", 11, QUIET, "end")
    svg.text(left - 8, top + height, "0", 11, QUIET, "end")
    svg.text(left + width, top + height + 18, f"{last:.1f} s", 11, QUIET, "end")
    return svg.render()
