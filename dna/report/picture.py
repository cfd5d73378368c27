"""The README's picture: the flow, and the accelerator it ends in. `python -m dna.report.picture docs/dna.svg`."""

from __future__ import annotations

import sys
from pathlib import Path

from dna.accelerator.chunk import Chunk
from dna.report.architecture import AMBER, BLUE, GREEN, HEIGHT, WIDTH, draw_chunk
from dna.report.svg import QUIET, Svg
from dna.runs import write_atomically

EXAMPLE = Chunk(oc=16, ic=4, px=4, post_lanes=8)
STEPS = (
    ("search", "network, accelerator,", "mapping: together", AMBER),
    ("quantise", "int8, with an integer", "reference in NumPy", AMBER),
    ("compile", "instructions, tiles,", "memory images", BLUE),
    ("generate", "Verilog, test bench,", "memory map", BLUE),
    ("verify", "bits = reference,", "cycles = model", GREEN),
)
FLOW_HEIGHT = 110.0


def readme_picture() -> str:
    """The SVG document."""
    svg = Svg(
        WIDTH, FLOW_HEIGHT + HEIGHT, "DNA: search, quantise, compile, generate, verify; and one chunk of the hardware"
    )
    step = 184.0
    for index, (name, first, second, colour) in enumerate(STEPS):
        x = 20 + index * step
        svg.rect(x, 20, 150, 70, colour)
        svg.lines(x + 12, 44, (name, first, second), 12)
        if index:
            svg.arrow((x - step + 152, 55), (x - 3, 55))
    svg.text(20, FLOW_HEIGHT + 14, "one chunk of the generated accelerator", 12, QUIET)
    draw_chunk(svg, EXAMPLE, FLOW_HEIGHT)
    return svg.render()


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) == 2 else None
    if target is None:
        sys.exit("usage: python -m dna.report.picture FILE.svg")
    write_atomically(target, readme_picture())


if __name__ == "__main__":
    main()
