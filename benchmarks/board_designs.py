"""The accelerators of the board-scale benchmark: one entry per network, everything else is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks import board_mobile
from dna.accelerator.chunk import Accelerator, Chunk, Memories, Memory
from dna.accelerator.mapping import Mapping
from dna.compile.lowering import lower
from dna.network.fold import fold_input
from dna.network.layer import Layer
from dna.network.network import Network, Weights
from dna.network.zoo import build
from dna.quantize.random import random_weights
from dna.search.problem import Budget
from dna.search.refine import blank_weights, refine, starting_mapping

ONE_PORT = Memory(read_latency=64, beat_interval=1)
"""All of the board's 16 bytes per cycle each way on one port."""
HALF = Memory(read_latency=64, beat_interval=2)
QUARTER = Memory(read_latency=64, beat_interval=4)
"""A half and a quarter of them, each behind a port of its own: ports share nothing, so cycles are exact."""

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


@dataclass(frozen=True)
class Setup:
    """What is built for one network, and what is claimed of it."""

    network: str
    """Name in the zoo."""
    accelerator: Accelerator
    memories: Memories
    frames: int
    """Per pass."""
    bars: tuple[tuple[str, str], ...]
    """Claims by figure: `frames/s`, `GOPS`, `utilisation`."""
    convolutions_only: bool = False
    """Convolutions and pooling without the fully connected layers, as others report these networks."""
    fold: int = 1
    """Factor by which pixels of the input are folded into channels."""
    assign: Callable[[Sequence[Layer]], tuple[int, ...]] = lambda layers: ()
    """Chunk of each executed layer."""
    choices: int = 8
    """Mappings of a layer that are scheduled."""
    evaluations: int = 24
    """Schedules of the whole network that the refinement may take."""
    find: Callable[[Network], Mapping] | None = None
    """Mapping of the executed network, where it is not refined from each layer's best."""


def pooling_beside(layers: Sequence[Layer]) -> tuple[int, ...]:
    """Pooling on chunk 1, everything else on chunk 0."""
    return tuple(int(layer.op == "maxpool") for layer in layers)


def first_and_pooling_beside(layers: Sequence[Layer]) -> tuple[int, ...]:
    """The first layer on chunk 2, pooling on chunk 1, everything else on chunk 0."""
    return (2, *pooling_beside(layers)[1:])


SETUPS: dict[str, Setup] = {
    "VGG-16 convolutions": Setup(
        "vgg16",
        Accelerator((CONVOLUTIONS, POOLING, FIRST)),
        (HALF, QUARTER, QUARTER),
        frames=2,
        bars=(("GOPS", ">= 650"), ("utilisation", ">= 0.95")),
        convolutions_only=True,
        assign=first_and_pooling_beside,
        choices=3,
        evaluations=1,
    ),
    "AlexNet convolutions": Setup(
        "alexnet",
        Accelerator((CONVOLUTIONS, POOLING)),
        HALF,
        frames=4,
        bars=(("utilisation", ">= 0.88"),),
        convolutions_only=True,
        fold=2,
        assign=pooling_beside,
    ),
    "ResNet-18": Setup(
        "resnet18", Accelerator((RESIDUALS,)), ONE_PORT, frames=4, bars=(("frames/s", ">= 165"),), evaluations=8
    ),
    "ResNet-50": Setup(
        "resnet50",
        Accelerator((RESIDUALS,)),
        ONE_PORT,
        frames=4,
        bars=(("frames/s", ">= 65"),),
        choices=4,
        evaluations=1,
    ),
    "MobileNetV2": Setup(
        "mobilenet_v2",
        board_mobile.accelerator(board_mobile.CHOSEN),
        board_mobile.MEMORIES,
        frames=board_mobile.FRAMES,
        bars=(("frames/s", ">= 500"),),
        fold=board_mobile.FOLD,
        find=partial(board_mobile.mapping, board_mobile.CHOSEN),
    ),
}


def zoo_network(setup: Setup) -> Network:
    """The network at 224 x 224 as published, before its input is folded."""
    network = build(setup.network).network
    if not setup.convolutions_only:
        return network
    kept = tuple(layer for layer in network.layers if layer.op in ("conv", "maxpool"))
    return Network(f"{network.name}_convolutions", kept)


def executed(setup: Setup, network: Network, weights: Weights) -> tuple[Network, Weights]:
    """What the accelerator executes: the same integers with a folded input."""
    return (network, weights) if setup.fold == 1 else fold_input(network, weights, setup.fold)


def mapping(setup: Setup) -> Mapping:
    """The setup's mapping, found by the exact schedule; always the same."""
    network = zoo_network(setup)
    network, weights = executed(setup, network, blank_weights(network))
    if setup.find is not None:
        return setup.find(network)
    start = starting_mapping(
        network,
        setup.accelerator,
        setup.memories,
        chunks=setup.assign(lower(network).layers),
        frames=setup.frames,
        choices=setup.choices,
    )
    budget = Budget(evaluations=setup.evaluations)
    return (
        refine(network, weights, setup.accelerator, start, setup.memories, budget) if setup.evaluations > 1 else start
    )


def integers(network: Network) -> Weights:
    """Random weights with which every layer's outputs spread over their range: bits do not care what they mean."""
    return random_weights(network, np.random.default_rng(0))
