"""The picture of several chunks: memory, the chunks with their share of it, and the banks between them."""

from __future__ import annotations

from collections.abc import Sequence

from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.isa import WORD_BYTES
from dna.report.architecture import AMBER, BLUE, GREY, WIDTH
from dna.report.svg import Svg

ROW = 92.0
BOX = 68.0
LEFT, RIGHT = 330.0, 640.0
"""Of the chunks' boxes."""
COLUMN = 62.0
"""Room for a bank beside the boxes."""


def system_svg(accelerator: Accelerator, shares: Sequence[int], layers: Sequence[int]) -> str:
    """The picture as an SVG document. `shares`: cycles per beat of each port; `layers`: how many each chunk has."""
    count = len(accelerator.chunks)
    height = 40 + ROW * count
    svg = Svg(WIDTH, height, f"Accelerator of {count} chunks and {len(accelerator.links)} banks between them")
    svg.rect(20, 20, 120, height - 40, GREY)
    svg.lines(32, 44, ("memory", "weights, program", "input, output"))
    for number, chunk in enumerate(accelerator.chunks):
        first = accelerator.first_port(number)
        _chunk(svg, number, chunk, shares[first : first + chunk.ports], layers[number])
    places = columns(accelerator.links)
    spacing = min(COLUMN, (WIDTH - RIGHT - 40) / max(1, len(set(places))))
    for link, place in zip(accelerator.links, places, strict=True):
        _link(svg, link, RIGHT + 34 + place * spacing, spacing >= COLUMN)
    return svg.render()


def columns(links: Sequence[Link]) -> list[int]:
    """A column for each link, so that no two in one column overlap."""
    taken: list[list[tuple[int, int]]] = []
    result = []
    for link in links:
        low, high = sorted((link.writer, link.reader))
        column = next(
            (i for i, spans in enumerate(taken) if all(high < a or b < low for a, b in spans)),
            len(taken),
        )
        if column == len(taken):
            taken.append([])
        taken[column].append((low, high))
        result.append(column)
    return result


def _top(number: int) -> float:
    return 24 + number * ROW


def _chunk(svg: Svg, number: int, chunk: Chunk, shares: Sequence[int], layers: int) -> None:
    y = _top(number)
    svg.rect(LEFT, y, RIGHT - LEFT, BOX, AMBER if chunk.mac_in_lut else BLUE)
    extras = [f"{chunk.post_lanes} post lanes"]
    extras += ["two multiplies per DSP"] if chunk.packed else ["multipliers in LUTs"] if chunk.mac_in_lut else []
    extras += [f"{chunk.dataflow}-stationary"] if chunk.dataflow != "output" else []
    title = f"chunk {number}: {chunk.oc} × {chunk.ic} × {chunk.px}, {layers} layer{'s' if layers != 1 else ''}"
    words = (chunk.input_words, chunk.weight_words, chunk.output_words)
    depths = "words: {} input, {} weight, {} output".format(*words)
    svg.lines(LEFT + 14, y + 20, (title, ", ".join(extras), depths), 12)
    for port in range(chunk.ports):
        place = y + BOX * (port + 1) / (chunk.ports + 1)
        svg.arrow((142, place), (LEFT - 2, place))
        share = f" every {shares[port]} cycles" if shares and shares[port] > 1 else " per cycle"
        svg.text(154, place - 5, f"{chunk.port_bytes} B{share}", 11)


def _link(svg: Svg, link: Link, x: float, labelled: bool) -> None:
    start, end = _top(link.writer) + BOX * 0.3, _top(link.reader) + BOX * 0.7
    svg.arrow((RIGHT, start), (x, start), (x, end), (RIGHT + 2, end))
    middle = (start + end) / 2
    svg.rect(x - 24 if labelled else x - 5, middle - 9, 48 if labelled else 10, 18, BLUE, radius=3)
    if labelled:
        svg.text(x, middle + 4, f"{link.words * WORD_BYTES // 1024} kB", 10, anchor="middle")
