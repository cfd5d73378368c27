"""A Summary in the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dna.report.charts import amount
from dna.report.console import table
from dna.report.summary import Summary, yes_no


def layer_table(summary: Summary) -> Table:
    """Per layer: cycles by the model and in the RTL, bits, utilisation."""
    columns = ("layer", "operator", "shape", "MACs", "used", "cycles model", "cycles RTL", "bits different")
    first = ("chunk",) if summary.several else ()
    rows = table(*first, *columns, numbers=columns[3:], title="Layers")
    for row in summary.layers:
        equal = not row.counters_different and not row.different_bits
        used = summary.layer_utilisation(row) if row.macs else ""
        number = (str(row.chunk),) if summary.several else ()
        figures = (f"{row.macs:,}", used, f"{row.cycles_model:,}", _count(row.cycles_rtl), _count(row.different_bits))
        rows.add_row(*number, row.name, row.kind, row.shape, *figures, style=None if equal else "bold red")
    macs, used = f"{summary.macs * summary.frames:,}", f"{summary.utilisation:.1%}"
    what = ("", "whole pass") if summary.several else ("whole frame",)
    rows.add_row(*what, "", "", macs, used, f"{summary.cycles_model:,}", _count(summary.cycles_rtl), "", style="bold")
    return rows


def result_table(summary: Summary) -> Table:
    """Accuracy, speed, resources, and whether the RTL is what was promised."""
    rows = Table(
        box=None, show_header=False, title="Result", title_justify="left", title_style="bold", padding=(0, 2, 0, 0)
    )
    for stage, share in summary.accuracy.items():
        rows.add_row(f"accuracy, {stage}", f"{share:.2%} of the held-out images")
    clock = f"at an assumed {summary.board.clock_mhz:g} MHz"
    rows.add_row("frames per second", f"{summary.frames_per_second:,.0f} {clock}")
    if summary.interval is not None:
        rows.add_row("cycles per frame", f"{summary.cycles_per_frame:,.0f} in steady state, by the model")
    what = f"cycles of a pass of {summary.frames}" if summary.frames > 1 else "cycles of one frame alone"
    rows.add_row(what, f"{summary.cycles_model:,} by the model, {_count(summary.cycles_rtl) or '–'} in the RTL")
    for number, chunk in enumerate(summary.accelerator.chunks):
        array = f"{chunk.oc} outputs × {chunk.ic} inputs × {chunk.px} pixels, {chunk.post_lanes} post lanes"
        name = f"array of chunk {number}" if summary.several else "array"
        rows.add_row(name, f"{array}, {chunk.ports} × {8 * chunk.port_bytes} bit")
    for name, used, available in summary.resource_rows():
        note = " (model)" if name in ("LUT", "FF") else ""
        rows.add_row(name, f"{amount(used)} of {amount(available)} ({used / available:.1%}){note}")
    rows.add_row("bits equal", _verdict(summary.bits_equal))
    rows.add_row("bits equal, random stalls", _verdict(summary.bits_equal_with_stalls))
    rows.add_row("cycles equal", _verdict(summary.cycles_equal))
    return rows


def rival_table(summary: Summary) -> Table:
    """The found accelerator beside the proven optimum and a random one, for the same network, board and goal."""
    numbers = ("cycles", "DSP", "BRAM36", "LUT", "share of board")
    rows = table("accelerator", "array", *numbers, "reaches the goal", "", numbers=numbers, title="Beside others")
    for rival in summary.rivals:
        used = rival.used
        figures = (
            f"{rival.cycles:,.0f}",
            f"{used.dsp:,}",
            f"{used.bram36:,}",
            f"{used.lut:,}",
            f"{rival.share_percent:.3f} %",
        )
        rows.add_row(rival.name, rival.array, *figures, yes_no(rival.feasible), rival.note)
    return rows


def time_table(summary: Summary) -> Table:
    rows = table("step", "time", numbers=("time",), title="Time")
    for step, seconds in summary.seconds.items():
        rows.add_row(step, f"{seconds:.1f} s")
    return rows


def overview(summary: Summary) -> RenderableType:
    """Everything that is known, one table under the other."""
    parts: list[RenderableType] = [Text(summary.title, style="bold"), Text(), layer_table(summary)]
    if summary.rivals:
        parts += [Text(), rival_table(summary)]
    parts += [Text(), result_table(summary)]
    if summary.notices:
        parts += [Text(), *(Text(f"note: {line}") for line in summary.notices)]
    if summary.seconds:
        parts += [Text(), time_table(summary)]
    return Group(*parts)


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _verdict(value: bool | None) -> Text:
    return Text(yes_no(value), style={None: "yellow", True: "green", False: "bold red"}[value])
