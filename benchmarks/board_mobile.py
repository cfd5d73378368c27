"""MobileNetV2 at 224 x 224 on three chunks: the benchmark's design, by plain enumeration of what can be rendered.

Chunk 0 runs the ordinary convolutions of the first blocks, chunk 1 their depthwise ones, at the same time on the same
frame in bands of rows; chunk 2 runs the later blocks on earlier frames, the last of them on several frames per weight
load. All tensors but the input, the output and those between batches of different size stay on chip.

    python -m benchmarks.board_mobile [--quick]

prices every point of the enumeration by the exact schedule and asks whether the design of `board_scale` is the best.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from benchmarks.common import Row, report, write
from dna.accelerator.chunk import Accelerator, Chunk, Link, Memory
from dna.accelerator.mapping import Mapping
from dna.compile.compiler import compile as compile_design
from dna.compile.lowering import lower
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.network.fold import fold_input
from dna.network.layer import Layer
from dna.network.network import Network, Weights
from dna.network.zoo import build
from dna.search.bands import banded_mapping
from dna.search.refine import blank_weights

FRAMES = 4
FOLD = 2
"""Squares of two by two pixels of the input become one of twelve channels."""
PASSES = 3
INTERVALS = (3, 20, 1000, 20, 16, 2)
"""Cycles per beat of 16 bytes of each port, 15.9 bytes per cycle in all: image; early weights; nothing; depthwise
weights; tensors between batches; late weights."""
MEMORIES = tuple(Memory(read_latency=64, beat_interval=interval) for interval in INTERVALS)


@dataclass(frozen=True)
class Point:
    """One point of the enumeration."""

    early: tuple[int, int, int]
    """oc, ic, px of chunk 0."""
    late: tuple[int, int, int]
    cut: int
    """First executed layer of chunk 2."""
    pair_from: int
    """First layer that runs on groups of two frames."""


CHOSEN = Point(early=(16, 4, 8), late=(16, 8, 8), cut=18, pair_from=42)
"""The best point of the enumeration; `board_mobile` measures that it is."""


def points(layers: Sequence[Layer]) -> Iterator[Point]:
    """The enumeration: shapes within 900 DSPs, a cut behind one of the early blocks, batches from the 7 x 7 maps on."""
    ends = [index + 1 for index, layer in enumerate(layers) if layer.name.endswith("_project")]
    cuts = [end for end in ends if layers[end - 1].out_height in (28, 14)][:5]
    pairs = next(end for end in ends if layers[end - 1].out_height == 7)
    for early, late in (((16, 4, 8), (16, 8, 8)), ((16, 4, 7), (16, 8, 7)), ((16, 4, 8), (32, 4, 8))):
        for cut in cuts:
            yield Point(early, late, cut, pairs)


def accelerator(point: Point) -> Accelerator:
    """Three chunks with packed multipliers, 16 post lanes each in LUTs, and the banks between them."""

    def chunk(shape: tuple[int, int, int], depths: tuple[int, int, int, int], residual: bool) -> Chunk:
        oc, ic, px = shape
        lanes, weights, params, outputs = depths
        return Chunk(
            oc, ic, px, 16, lanes, weights, params, outputs, residual=residual, packed=True, post_in_lut=True
        )  # fmt: skip

    chunks = (
        chunk(point.early, (512, 512, 64, 1024), True),
        chunk((16, 1, 8), (1024, 512, 64, 2048), False),
        chunk(point.late, (512, 2048, 256, 1024), True),
    )
    links = ((0, 1, 8192), (1, 0, 32768), (0, 0, 16384), (0, 2, 8192), (2, 2, 16384))
    return Accelerator(chunks, links=tuple(Link(*link) for link in links))


def mapping(point: Point, network: Network) -> Mapping:
    """Depthwise layers before the cut on chunk 1, others on chunk 0; behind it chunk 2, in groups of 1, 2, 4 frames."""
    layers = lower(network).layers
    chunks = [2 if i >= point.cut else int(layer.op == "depthwise") for i, layer in enumerate(layers)]
    last = len(layers) - 1
    batches = [1 if i < point.pair_from else 2 if i < last else FRAMES for i in range(len(layers))]
    between = {layers[point.pair_from - 1].name, layers[last - 1].name}
    return banded_mapping(network, accelerator(point), chunks, frames=FRAMES, batches=batches, in_memory=between)


def pass_cycles(point: Point, network: Network, weights: Weights) -> int | str:
    """Cycles of a pass in steady state by the exact schedule, or why the point does not compile."""
    try:
        program = compile_design(network, weights, accelerator(point), mapping(point, network))
    except UserError as problem:
        return str(problem)
    return schedule(program, MEMORIES, PASSES).interval


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the chosen point only")
    given = parser.parse_args()
    network = build("mobilenet_v2").network
    network, weights = fold_input(network, blank_weights(network), FOLD)
    cycles: dict[Point, int] = {}
    rows = []
    for point in [CHOSEN] if given.quick else points(lower(network).layers):
        found = pass_cycles(point, network, weights)
        name = f"{_by(point.early)}, 16 x 1 x 8, {_by(point.late)}, cut at {point.cut}"
        if isinstance(found, int):
            cycles[point] = found
        rows.append(Row(f"{name}: cycles of {FRAMES} frames", found, "", "", asdict(point)))
        report(rows[-1:])
    rows.append(
        Row("fewest cycles / those of the design in board_scale", min(cycles.values()) / cycles[CHOSEN], "", ">= 1")
    )
    if not given.quick:
        write("board_mobile", rows)
    return report(rows[-1:])


def _by(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))


if __name__ == "__main__":
    sys.exit(main())
