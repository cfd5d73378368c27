"""Designs shaped by hand, given as points: what realising and finishing makes of them, against what they took by hand.

    python -m benchmarks.hand_points [--quick] [--networks NAME,NAME]

Of each network of `board_scale`, the accelerator and the layers on it as a person chose them; mappings, links and the
shares of single ports are found here. So the finish alone is measured, whatever a search proposes. `--quick`: AlexNet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.board_designs import BOARD, SETUPS, executed, zoo_network
from benchmarks.common import Row, report, write
from dna.accelerator.chunk import Chunk
from dna.compile.lowering import lower
from dna.network.layer import Layer
from dna.search.finish import finish
from dna.search.goal import Fastest
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.refine import blank_weights

EVALUATIONS = 30
"""Schedules of a network that the finish may take."""
CONVOLUTIONS = Chunk(
    oc=32,
    ic=4,
    px=14,
    post_lanes=16,
    input_words=4096,
    weight_words=4608,
    param_words=512,
    output_words=4096,
    residual=False,
    packed=True,
    post_in_lut=True,
    ports=1,
    burst_beats=64,
)
"""1792 multipliers on 896 DSPs. 14 pixel lanes, for feature maps have 7 * 2^n rows."""
RESIDUALS = replace(CONVOLUTIONS, residual=True, weight_words=4096)
POOLING = Chunk(
    oc=16,
    ic=1,
    px=1,
    post_lanes=4,
    input_words=2048,
    weight_words=64,
    param_words=256,
    output_words=1024,
    residual=False,
    mac_in_lut=True,
    post_in_lut=True,
    ports=1,
    burst_beats=64,
)
"""Pooling beside the convolutions: there it would hold up the large array at the speed of the memory port."""
FIRST = replace(POOLING, post_lanes=2, weight_words=256)
"""A first layer with three input channels, whose outputs are more than a port takes while the large array waits."""
MOBILE = Chunk(residual=True, post_lanes=16, packed=True, post_in_lut=True, ic=4, px=8, param_words=64)
MOBILE_CHUNKS = (
    replace(MOBILE, output_words=1024),
    replace(MOBILE, ic=1, residual=False, input_words=1024, output_words=2048),
    replace(MOBILE, ic=8, weight_words=2048, param_words=256, output_words=1024),
)
"""Ordinary convolutions of the first blocks, their depthwise ones at the same time, and the later blocks."""
MOBILE_CUT, MOBILE_PAIRS = 18, 42
"""First executed layer of the third chunk, and the first one that runs on pairs of frames."""


def vgg16(layers: Sequence[Layer]) -> Point:
    """The first layer on chunk 2, pooling on chunk 1, everything else on chunk 0."""
    home = (2, *(int(layer.op == "maxpool") for layer in layers[1:]))
    return Point((CONVOLUTIONS, POOLING, FIRST), (2, 4, 4), home, frames=2)


def alexnet(layers: Sequence[Layer]) -> Point:
    """Pooling on chunk 1, everything else on chunk 0."""
    return Point((CONVOLUTIONS, POOLING), (2, 2), tuple(int(layer.op == "maxpool") for layer in layers), frames=4)


def resnet(layers: Sequence[Layer]) -> Point:
    """One chunk with all of the memory's bandwidth."""
    return Point((RESIDUALS,), (1,), (0,) * len(layers), frames=4)


def mobilenet_v2(layers: Sequence[Layer]) -> Point:
    """Two chunks in bands on the first blocks, one on the later ones, the last of them on several frames per load. All
    tensors but input, output and those between batches of different size are on chip."""
    last = len(layers) - 1
    home = tuple(2 if n >= MOBILE_CUT else int(layer.op == "depthwise") for n, layer in enumerate(layers))
    batches = tuple(1 if n < MOBILE_PAIRS else 2 if n < last else 4 for n in range(len(layers)))
    between = {layers[MOBILE_PAIRS - 1].name, layers[last - 1].name, layers[last].name}
    on_chip = frozenset(layer.name for layer in layers) - between
    return Point(MOBILE_CHUNKS, (5, 39, 4), home, 4, batches, on_chip)


POINTS: dict[str, Callable[[Sequence[Layer]], Point]] = {
    "VGG-16 convolutions": vgg16,
    "AlexNet convolutions": alexnet,
    "ResNet-18": resnet,
    "ResNet-50": resnet,
    "MobileNetV2": mobilenet_v2,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one network; writes nothing")
    parser.add_argument("--networks", help=f"only these, separated by commas: {', '.join(POINTS)}")
    given = parser.parse_args()
    chosen = given.networks.split(",") if given.networks else ["AlexNet convolutions"] if given.quick else list(POINTS)
    if unknown := [name for name in chosen if name not in POINTS]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(POINTS)}")
    rows: list[Row] = []
    for name in chosen:
        new = measured(name)
        report(new)
        rows += new
    if len(chosen) == len(POINTS):
        write("hand_points", rows)
    return int(any(row.holds is False for row in rows))


def measured(name: str) -> list[Row]:
    """What the finish makes of one network's point."""
    setup = SETUPS[name]
    network = zoo_network(setup)
    network, _ = executed(setup, network, blank_weights(network))
    point = POINTS[name](lower(network).layers)
    found = finish(network, [point], BOARD, Fastest(), Budget(evaluations=EVALUATIONS))
    first = found.trace[0][2]
    extra = {"schedules": found.evaluations, "seconds": round(found.seconds, 1), "changes": len(found.trace) - 1}
    return [
        Row(f"{name}: cycles, realised / by hand", round(first / setup.hand, 4), "", "", {"cycles": first}),
        Row(f"{name}: cycles, finished / by hand", round(found.cost / setup.hand, 4), "", "<= 1", extra),
    ]


if __name__ == "__main__":
    sys.exit(main())
