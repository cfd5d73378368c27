"""A Pareto set of accelerators as files for people: pareto.csv, and a page with the table and the picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from html import escape

from rich.table import Table

from dna.accelerator.board import Board
from dna.report.page import STYLE, html_table
from dna.report.pareto import heading, pareto_chart, pareto_table
from dna.search.figures import FIGURES
from dna.search.front_exact import FrontPoint, ParetoSet


def arrays(point: FrontPoint) -> str:
    """The design's arrays in a few words: output channels × input channels × pixels of each chunk."""
    return " + ".join(f"{c.oc}×{c.ic}×{c.px}" for c in point.realised.accelerator.chunks)


def front_table(found: ParetoSet, names: Sequence[str]) -> Table:
    """For a terminal: the objectives by the exact schedule; `names`: of the designs."""
    designs = [f"{name}  {arrays(point)}" for name, point in zip(names, found.points, strict=True)]
    return pareto_table(found.names, _rows(found), designs)


def front_csv(found: ParetoSet, names: Sequence[str]) -> str:
    """A line per design: the objectives by the exact schedule and by the price model, then all other figures."""
    rest = _rest(found)
    file = io.StringIO()
    out = csv.writer(file, lineterminator="\n")
    objectives = [text for name in found.names for text in (heading(name), f"{heading(name)}, price model")]
    out.writerow(["design", *objectives, *map(heading, rest), "chunks", "arrays"])
    for name, point in zip(names, found.points, strict=True):
        numbers = _numbers(found, point)
        chunks = len(point.realised.accelerator.chunks)
        out.writerow([name, *(f"{value:.8g}" for value in numbers), chunks, arrays(point)])
    return file.getvalue()


def front_page(found: ParetoSet, names: Sequence[str], title: str, board: Board, notes: Sequence[str]) -> str:
    """The whole document: the picture, the table, how it was found."""
    rest = _rest(found)
    columns = ["design", *(f"#{text}" for name in found.names for text in (heading(name), "price model"))]
    columns += [f"#{heading(name)}" for name in rest] + ["arrays"]
    lines = []
    for name, point in zip(names, found.points, strict=True):
        lines.append([name, *map(_number, _numbers(found, point)), arrays(point)])
    body = "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            f'<p class="note">{escape(board.title)}, at an assumed {board.clock_mhz:g} MHz. Blue: the set, by the exact'
            " schedule. Grey: what the price model held for undominated, and designs that others of the set beat.</p>",
            pareto_chart(found.names, _rows(found), found.others),
            html_table(columns, lines),
            *(f'<p class="note">{escape(note)}</p>' for note in notes),
        ]
    )
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    viewport = '<meta name="viewport" content="width=device-width">'
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}{viewport}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _rest(found: ParetoSet) -> list[str]:
    """Figures that are no objective."""
    return [name for name in FIGURES if name not in found.names and name in found.points[0].figures]


def _numbers(found: ParetoSet, point: FrontPoint) -> list[float]:
    """Each objective by the exact schedule and by the price model, then the rest."""
    pairs = zip((point.figures[of] for of in found.names), point.predicted, strict=True)
    return [value for pair in pairs for value in pair] + [point.figures[of] for of in _rest(found)]


def _rows(found: ParetoSet) -> list[tuple[float, ...]]:
    return [tuple(point.figures[name] for name in found.names) for point in found.points]


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
