"""The picture of a chunk: ports, buffers, array, post lanes, with the numbers of the chunk it is drawn for."""

from __future__ import annotations

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Chunk
from dna.report.svg import LINE, PAPER, Svg

WIDTH, HEIGHT = 960, 400
BLUE, GREEN, AMBER, GREY = "#dcebfa", "#e0f1e3", "#fdf0d5", "#eaeef2"
GRID_ROWS, GRID_COLS, GRID_PLANES = 16, 8, 5
"""Largest grid that is drawn cell by cell; the text beside it gives the real size."""
LANE_PLANES = 4


def draw_chunk(svg: Svg, chunk: Chunk, y: float = 0) -> None:
    """Draws the chunk into `svg`, WIDTH x HEIGHT, from `y` downwards."""
    _ports(svg, chunk, y)
    _buffers(svg, chunk, y)
    _array(svg, chunk, y)
    _output(svg, chunk, y)
    _sequencer(svg, y)


def architecture_svg(chunk: Chunk) -> str:
    """The picture of one chunk as an SVG document."""
    svg = Svg(WIDTH, HEIGHT, f"Accelerator: {chunk.oc} × {chunk.ic} × {chunk.px} multipliers")
    draw_chunk(svg, chunk)
    return svg.render()


def _ports(svg: Svg, chunk: Chunk, y: float) -> None:
    requests = f"{chunk.outstanding} bursts of {chunk.burst_beats}"
    width = f"{8 * chunk.port_bytes} bit"
    svg.rect(20, y + 40, 130, 96, GREY)
    svg.lines(30, y + 62, ("AXI4 read port 0", width, requests, "input, residual" if chunk.residual else "input"))
    if chunk.ports == 2:
        svg.rect(20, y + 170, 130, 110, GREY)
        svg.lines(30, y + 192, ("AXI4 read port 1", width, requests, "weights, parameters,", "program"))
        source = 150.0, y + 225
    else:
        svg.text(30, y + 126, "weights, program", 11, "#6b7a88")
        source = 150.0, y + 118
    svg.arrow((150, y + 80), (200, y + 80))
    for target in (y + 198, y + 256):
        svg.arrow(source, (175, source[1]), (175, target), (200, target))
    if chunk.residual:
        svg.arrow((150, y + 96), (164, y + 96), (164, y + 143), (200, y + 143))


def _buffers(svg: Svg, chunk: Chunk, y: float) -> None:
    planes = min(chunk.px, LANE_PLANES)
    for plane in reversed(range(planes)):
        svg.rect(200 + 5 * plane, y + 50 - 5 * plane, 150, 66, BLUE)
    lanes = f"{chunk.px} pixel lane{'s' if chunk.px > 1 else ''}"
    svg.lines(210, y + 70, ("input buffers", lanes, f"{chunk.input_words} words of 16 B each"))
    if chunk.residual:
        svg.rect(200, y + 126, 150, 34, BLUE)
        svg.lines(210, y + 140, ("residual buffer", f"{chunk.output_words} words of 16 B"))
    svg.rect(200, y + 172, 150, 52, BLUE)
    svg.lines(210, y + 191, ("weight buffer", f"{chunk.weight_words} words of {chunk.weight_word_bytes} B"))
    svg.rect(200, y + 236, 150, 46, BLUE)
    svg.lines(210, y + 254, ("parameter buffer", f"{chunk.param_words} words of {8 * chunk.post_lanes} B"))


def _array(svg: Svg, chunk: Chunk, y: float) -> None:
    rows, cols, planes = min(chunk.oc, GRID_ROWS), min(chunk.ic, GRID_COLS), min(chunk.px, GRID_PLANES)
    left, top, width, height = 420.0, y + 62, 130.0, 170.0
    for plane in reversed(range(planes)):
        x, up = left + 7 * plane, top - 7 * plane
        svg.rect(x, up, width, height, AMBER if plane else PAPER)
    for row in range(rows):
        for col in range(cols):
            cell_x, cell_y = left + 6 + col * (width - 10) / cols, top + 6 + row * (height - 10) / rows
            svg.rect(cell_x, cell_y, (width - 10) / cols - 2, (height - 10) / rows - 2, AMBER, "#e0bd6c", 1.5)
    svg.lines(
        left,
        top + height + 20,
        (
            f"MAC array {chunk.oc} × {chunk.ic} × {chunk.px}",
            "outputs × inputs × pixels",
            f"{chunk.multipliers} multiplies per cycle",
        ),
    )
    svg.arrow((352 + 5 * (min(chunk.px, LANE_PLANES) - 1), y + 80), (left - 2, y + 80))
    svg.arrow((350, y + 198), (left - 2, y + 198))


def _output(svg: Svg, chunk: Chunk, y: float) -> None:
    left, top, height = 640.0, y + 62, 170.0
    svg.rect(left, top, 110, height, GREEN)
    step = (height - 62) / chunk.post_lanes
    for lane in range(chunk.post_lanes):
        svg.rect(left + 10, top + 54 + lane * step, 90, max(2.0, step - 2), PAPER, LINE, 2)
    svg.lines(
        left + 10,
        top + 18,
        (f"{chunk.post_lanes} post lanes", f"bias, scale{', add' if chunk.residual else ''},", "round, clip"),
        10.5,
    )
    svg.arrow((552 + 7 * (min(chunk.px, GRID_PLANES) - 1), y + 147), (left - 2, y + 147))
    svg.arrow((330, y + 282), (330, y + 295), (600, y + 295), (600, y + 215), (left - 2, y + 215))
    if chunk.residual:
        svg.arrow((350, y + 151), (385, y + 151), (385, y + 28), (620, y + 28), (620, y + 110), (left - 2, y + 110))
    svg.rect(790, y + 62, 150, 66, BLUE)
    svg.lines(800, y + 84, ("output buffer", f"{chunk.output_words} words of 16 B"))
    svg.arrow((750, y + 95), (788, y + 95))
    svg.rect(790, y + 166, 150, 66, GREY)
    svg.lines(800, y + 188, ("AXI4 write port", f"{8 * chunk.port_bytes} bit", "committed by response"))
    svg.arrow((865, y + 128), (865, y + 164))


def _sequencer(svg: Svg, y: float) -> None:
    svg.rect(20, y + 318, 920, 60, GREY)
    svg.lines(
        30,
        y + 340,
        ("sequencer", f"program memory: 2 pages of {PAGE_INSTRUCTIONS} instructions, loaded by the program"),
    )
    svg.text(930, y + 340, "LOAD   LAYER   TILE   STORE", 11, anchor="end", bold=True)
    svg.text(
        930,
        y + 356,
        "engines meet by monotone counters alone; cycle counters per layer and cause",
        11,
        "#6b7a88",
        "end",
    )
    for x in (85, 275, 485, 695, 865):
        svg.arrow((x, y + 318), (x, y + 304))
