"""The HTML report: one file, no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dna.report.architecture import architecture_svg
from dna.report.charts import share_bars, stacked_bars, steps
from dna.report.summary import CHUNK_COLUMNS, Summary, yes_no
from dna.report.system import system_svg

STYLE = """
body { font: 15px/1.5 ui-sans-serif, system-ui, Helvetica, Arial, sans-serif; color: #22303c; background: #fff;
       max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { padding: 4px 10px; text-align: left; border-bottom: 1px solid #e4e9ee; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 10px; }
.facts div { background: #f7f9fb; border: 1px solid #e4e9ee; border-radius: 8px; padding: 10px 14px; }
.facts b { display: block; font-size: 1.25rem; } .facts span, .note { color: #6b7a88; font-size: 13px; }
.bad { color: #b3261e; font-weight: 600; } svg { max-width: 100%; height: auto; }
"""


def html_page(summary: Summary) -> str:
    """The whole document."""
    board = summary.board
    sections = [
        f"<h1>{escape(summary.title)}</h1>",
        f'<p class="note">{escape(board.title)} ({escape(board.part)}), at an assumed {board.clock_mhz:g} MHz;'
        f" memory of {board.memory.read_latency} cycles latency, also assumed.</p>",
        _facts(summary),
        *(f'<p class="note">{escape(line)}</p>' for line in summary.notices),
        _section("Accelerator", _accelerator(summary)),
        _section("Layers", _layers(summary)),
        _section(
            "Where the cycles go",
            stacked_bars("Cycles per layer and cause", [(row.name, row.causes) for row in summary.layers], "cycles"),
        ),
        _section("Resources", share_bars("Resources used of the board", summary.resource_rows()) + _RESOURCE_NOTE),
    ]
    if summary.rivals:
        sections.append(_section("The accelerator beside others for this network", _rivals(summary)))
    if summary.anytime is not None:
        sections.append(_section("The search", _anytime(summary)))
    if summary.seconds:
        rows = [(name, f"{seconds:.1f} s") for name, seconds in summary.seconds.items()]
        sections.append(_section("Time", html_table(("step", "#time"), rows)))
    head = f'<meta charset="utf-8"><title>{escape(summary.title)}</title><style>{STYLE}</style>'
    viewport = '<meta name="viewport" content="width=device-width">'
    body = "\n".join(sections)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}{viewport}</head>\n<body>\n{body}\n</body>\n</html>\n'


_RESOURCE_NOTE = (
    '<p class="note">DSP and BRAM follow from the structure; LUT and FF are a model fitted to open synthesis.</p>'
)


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}"


def _accelerator(summary: Summary) -> str:
    """The picture; of several chunks one of them all, and each by itself below."""
    chunks = summary.accelerator.chunks
    if not summary.several:
        return architecture_svg(chunks[0])
    layers = [sum(row.chunk == number for row in summary.layers) for number in range(len(chunks))]
    parts = [system_svg(summary.accelerator, summary.shares, layers), html_table(CHUNK_COLUMNS, summary.chunk_rows())]
    for number, chunk in enumerate(chunks):
        parts.append(f"<details><summary>chunk {number}</summary>{architecture_svg(chunk)}</details>")
    return "\n".join(parts)


def _anytime(summary: Summary) -> str:
    assert summary.anytime is not None
    found = summary.anytime
    points = list(zip(found.seconds, found.cycles, strict=True))
    end = summary.seconds.get("accelerator", 0.0)
    return steps("Best cycles per frame over the seconds", points, found.lower_bound, "cycles", end)


def _facts(summary: Summary) -> str:
    facts = [(f"{value:.2%}", f"of the held-out images, {stage}") for stage, value in summary.accuracy.items()]
    facts += [
        (f"{summary.frames_per_second:,.0f}", "frames per second"),
        *_cycles(summary),
        (f"{summary.utilisation:.1%}", "of all multiplies used"),
        (yes_no(summary.bits_equal), "RTL = reference, bit for bit"),
        (yes_no(summary.cycles_equal), "RTL = model, cycle for cycle"),
    ]
    cells = (f"<div><b{_bad(value)}>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in facts)
    return f'<div class="facts">{"".join(cells)}</div>'


def _cycles(summary: Summary) -> list[tuple[str, str]]:
    if summary.interval is None:
        return [(f"{summary.cycles_model:,}", "cycles per frame")]
    alone = "one frame" if summary.frames == 1 else f"one pass, {summary.frames} frames,"
    steady = (f"{summary.cycles_per_frame:,.0f}", "cycles per frame in steady state")
    return [steady, (f"{summary.cycles_model:,}", f"cycles of {alone} alone")]


def _bad(value: str) -> str:
    return ' class="bad"' if value == "NO" else ""


def _layers(summary: Summary) -> str:
    columns = (
        *(["#chunk"] if summary.several else []),
        "layer",
        "operator",
        "shape",
        "#MACs",
        "#utilisation",
        "#cycles, model",
        "#cycles, RTL",
        "#bits that differ",
    )
    rows = [
        (
            *([str(row.chunk)] if summary.several else []),
            row.name,
            row.kind,
            row.shape,
            f"{row.macs:,}",
            summary.layer_utilisation(row),
            f"{row.cycles_model:,}",
            _count(row.cycles_rtl),
            _count(row.different_bits),
        )
        for row in summary.layers
    ]
    what = ("", "a pass", "", "") if summary.several else ("frame", "", "")
    total = (*what, f"{summary.macs * summary.frames:,}", f"{summary.utilisation:.1%}", f"{summary.cycles_model:,}")
    return html_table(columns, [*rows, (*total, _count(summary.cycles_rtl), "")])


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _rivals(summary: Summary) -> str:
    columns = ("", "array", "#cycles", "#DSP", "#BRAM36", "#LUT", "#share of the board", "meets the goal", "")
    rows = [
        (
            rival.name,
            rival.array,
            f"{rival.cycles:,.0f}",
            f"{rival.used.dsp:,}",
            f"{rival.used.bram36:,}",
            f"{rival.used.lut:,}",
            f"{rival.share_percent:.2f} %",
            yes_no(rival.feasible),
            rival.note,
        )
        for rival in summary.rivals
    ]
    return html_table(columns, rows)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML; a column whose name starts with `#` holds numbers."""
    classes = [' class="n"' if column.startswith("#") else "" for column in columns]
    head = "".join(f"<th{c}>{escape(n.lstrip('#'))}</th>" for n, c in zip(columns, classes, strict=True))
    lines = (
        "<tr>" + "".join(f"<td{c}>{escape(v)}</td>" for v, c in zip(row, classes, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
