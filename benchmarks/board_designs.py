"""The accelerators of the benchmark at board size: what the search chose for five networks on the ZC706.

They are found by `python -m benchmarks.board_scale --search`, kept as small files in `benchmarks/designs`, and read
from there, for simulating one takes minutes and need not wait for a search. Beside each stands what a design shaped by
hand took: the bar.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.common import ROOT
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Memories
from dna.accelerator.mapping import Mapping
from dna.errors import UserError
from dna.network.fold import fold_input
from dna.network.network import Network, Weights
from dna.network.zoo import build
from dna.quantize.random import random_weights
from dna.record import from_plain, read_yaml, to_plain
from dna.runs import write_atomically
from dna.search.exact_pipeline import propose
from dna.search.finish import Finished, finish
from dna.search.goal import Fastest
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.realise import Realised
from dna.search.refine import blank_weights

BOARD = load_board("zc706")
FOLDER = ROOT / "benchmarks" / "designs"
CHUNKS = {4: 8, 1: 2, 2: 3}
"""Most chunks of a proposal, and how many of such proposals are scheduled."""
EVALUATIONS = 60
"""Schedules of a network that the finish may take: with no limit of time, a search ends with the same design always."""


@dataclass(frozen=True)
class Setup:
    """What is built for one network, and what is claimed of it."""

    network: str
    """Name in the zoo."""
    hand: float
    """Cycles of a frame that a design shaped by hand took."""
    bars: tuple[tuple[str, str], ...]
    """Claims by figure: `frames/s`, `GOPS`, `utilisation`."""
    frames: int = 4
    """Of a pass, to begin with."""
    convolutions_only: bool = False
    """Convolutions and pooling without the fully connected layers, as others report these networks."""
    fold: int = 1
    """Factor by which pixels of the input are folded into channels."""

    @property
    def path(self) -> Path:
        """The file of its design."""
        return FOLDER / f"{self.network}.yaml"


SETUPS: dict[str, Setup] = {
    "VGG-16 convolutions": Setup(
        "vgg16",
        hand=17_137_893 / 2,
        bars=(("GOPS", ">= 650"), ("utilisation", ">= 0.95")),
        frames=2,
        convolutions_only=True,
    ),
    "AlexNet convolutions": Setup(
        "alexnet", hand=1_596_514 / 4, bars=(("utilisation", ">= 0.88"),), convolutions_only=True, fold=2
    ),
    "ResNet-18": Setup("resnet18", hand=4_779_013 / 4, bars=(("frames/s", ">= 165"),)),
    "ResNet-50": Setup("resnet50", hand=11_637_255 / 4, bars=(("frames/s", ">= 65"),)),
    "MobileNetV2": Setup("mobilenet_v2", hand=1_498_607 / 4, bars=(("frames/s", ">= 500"),), fold=2),
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


def integers(network: Network) -> Weights:
    """Random weights with which every layer's outputs spread over their range: bits do not care what they mean."""
    return random_weights(network, np.random.default_rng(0))


def search(setup: Setup) -> tuple[Finished, float]:
    """The search's design, always the same, and a lower bound of the cycles of a frame by the closed form."""
    network = zoo_network(setup)
    network, _ = executed(setup, network, blank_weights(network))
    points: dict[Point, None] = {}
    bounds = []
    for chunks, count in CHUNKS.items():
        found = propose(network, BOARD, Budget(), max_chunks=chunks, frames=setup.frames)
        points |= dict.fromkeys(found.points[:count])
        bounds.append(found.lower_bound_cycles)
    return finish(network, list(points), BOARD, Fastest(), Budget(evaluations=EVALUATIONS)), min(bounds)


@dataclass(frozen=True)
class Found:
    """A file of `benchmarks/designs`."""

    command: str
    """Finds it again."""
    cycles: float
    """Of a frame, in steady state, by the exact schedule."""
    lower_bound: float
    """By the closed form: no proposal takes fewer. The finish may, with more frames per pass."""
    design: Realised

    @property
    def accelerator(self) -> Accelerator:
        return self.design.accelerator

    @property
    def mapping(self) -> Mapping:
        return self.design.mapping

    @property
    def memories(self) -> Memories:
        """The memory behind each port."""
        return self.design.memories(BOARD)


def save(setup: Setup, name: str, finished: Finished, bound: float) -> Path:
    """Writes the setup's file."""
    command = f'python -m benchmarks.board_scale --search --networks "{name}"'
    found = Found(command, finished.settled.cycles, round(bound, 1), finished.realised)
    FOLDER.mkdir(exist_ok=True)
    write_atomically(setup.path, yaml.safe_dump(to_plain(found), sort_keys=False, width=110, default_flow_style=None))
    return setup.path


def load(setup: Setup) -> Found:
    """The setup's design. UserError, saying how to find it, if there is no file."""
    if not setup.path.is_file():
        raise UserError(f"{setup.path.name} is missing: python -m benchmarks.board_scale --search finds it")
    return from_plain(Found, read_yaml(setup.path))
