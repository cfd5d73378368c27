"""Random Designs of several chunks: links, frames, batches, tensors on chip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dna.accelerator.chunk import Accelerator, Memory
from dna.accelerator.mapping import Mapping
from dna.compile.lowering import lower
from dna.compile.program import Program
from dna.errors import UserError
from dna.network.network import Network, Weights
from dna.network.random import RandomLimits, random_input, random_network
from dna.quantize.random import random_weights
from dna.verify.random_accelerators import (
    FRAMES,
    MAX_CHUNKS,
    compile_with_room,
    random_accelerator,
    random_memories,
    random_pipeline,
)


@dataclass(frozen=True)
class ChunksCase:
    network: Network
    weights: Weights
    accelerator: Accelerator
    mapping: Mapping
    program: Program

    def inputs(self, passes: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Random frames for so many passes."""
        return [random_input(self.network, rng) for _ in range(passes * self.program.frames)]

    def memories(self, rng: np.random.Generator) -> tuple[Memory, ...]:
        """A random memory behind each port."""
        return random_memories(rng, self.accelerator.ports)


def drawn_chunks_case(seed: int, limits: RandomLimits | None = None, chunks: int = 0) -> ChunksCase:
    """Two to four chunks (or `chunks`), some of them linked, each with a layer to run."""
    rng = np.random.default_rng(seed)
    while True:
        network = random_network(rng, limits or RandomLimits(layers=8, macs=60_000, everything=True))
        count = chunks or int(rng.integers(2, MAX_CHUNKS + 1))
        if len(lower(network).layers) < count:
            continue
        accelerator = random_accelerator(rng, count)
        try:
            weights = random_weights(network, rng)
            mapping = random_pipeline(network, accelerator, rng, int(rng.choice(FRAMES)))
            mapping, program = compile_with_room(network, weights, accelerator, mapping)
        except UserError:
            continue
        return ChunksCase(network, weights, accelerator, mapping, program)
