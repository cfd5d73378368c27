"""Random Designs of several chunks: links, frames, batches, tensors on chip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dna.accelerator.chunk import Accelerator, Link, Memory
from dna.accelerator.mapping import Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import random_chunk, random_mapping, resident
from dna.compile.lowering import Lowered, lower
from dna.compile.program import Program
from dna.errors import UserError
from dna.network.network import Network, Weights
from dna.network.random import RandomLimits, random_input, random_network
from dna.quantize.random import random_weights


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
        return tuple(
            Memory(int(rng.integers(4, 90)), int(rng.choice([1, 1, 2])), int(rng.integers(2, 40)))
            for _ in range(self.accelerator.ports)
        )


def drawn_chunks_case(seed: int, limits: RandomLimits | None = None, chunks: int = 0) -> ChunksCase:
    """Two to four chunks (or `chunks`), every pair of them linked or not, each with a layer to run."""
    rng = np.random.default_rng(seed)
    while True:
        network = random_network(rng, limits or RandomLimits(layers=8, macs=60_000, everything=True))
        lowered = lower(network)
        count = chunks or int(rng.integers(2, 5))
        layers = len(lowered.layers)
        if layers < count:
            continue
        if rng.random() < 0.6:
            homes = np.sort(rng.integers(0, count, layers))  # a pipeline
        else:
            homes = rng.integers(0, count, layers)
        if len(set(homes.tolist())) < count:
            continue
        linked = bool(rng.random() < 0.8)
        links = [
            Link(writer, reader, 1 << int(rng.choice([6, 6, 6, 7, 8, 12])))
            for writer in range(count)
            for reader in range(count)
            if linked and rng.random() < 0.8
        ]
        engines = [random_chunk(rng) for _ in range(count)]
        engines = [replace(c, port_bytes=16, burst_beats=min(c.burst_beats, 256)) if links else c for c in engines]
        accelerator = Accelerator(tuple(engines), links=tuple(links))
        frames = int(rng.choice([1, 1, 2, 3, 4]))
        divisors = [n for n in range(1, frames + 1) if frames % n == 0]
        batches = tuple(int(rng.choice(divisors)) for _ in range(layers)) if rng.random() < 0.4 else ()
        if rng.random() < 0.3:
            batches = (int(rng.choice(divisors)),) * layers
        drawn = resident if rng.random() < 0.5 else lambda layer, chunk, given: given
        try:
            mapping = Mapping(
                tuple(
                    drawn(lay, engines[home], random_mapping(lay, engines[home], rng))
                    for lay, home in zip(lowered.layers, homes, strict=True)
                ),
                tuple(homes.tolist()),
                frames,
                batches,
                frozenset(t for t in _linkable(lowered, accelerator, homes.tolist()) if rng.random() < 0.8),
            )
            weights = random_weights(network, rng)
            program = _compiled(network, weights, accelerator, mapping)
        except UserError:
            continue
        return ChunksCase(network, weights, accelerator, mapping, program)


def _compiled(network: Network, weights: Weights, accelerator: Accelerator, mapping: Mapping) -> Program:
    """With as many of the tensors on chip as it takes to compile, at last none."""
    while True:
        try:
            return compile(network, weights, accelerator, mapping)
        except UserError:
            if not mapping.on_chip:
                raise
            mapping = replace(mapping, on_chip=frozenset(sorted(mapping.on_chip)[1:]))


def _linkable(lowered: Lowered, accelerator: Accelerator, homes: list[int]) -> list[str]:
    """Tensors with a link from their writer to every reader."""
    home = {layer.name: chunk for layer, chunk in zip(lowered.layers, homes, strict=True)}
    result = []
    for layer in lowered.layers:
        readers = {home[other.name] for other in lowered.layers if layer.name in (other.input, other.residual)}
        linked = readers and all(accelerator.link(home[layer.name], reader) for reader in readers)
        if linked and layer.name != lowered.output and layer.name not in lowered.places:
            result.append(layer.name)
    return result
