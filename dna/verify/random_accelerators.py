"""Random accelerators of one or several small chunks, and random ways to run a network on them."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from dna.accelerator.chunk import Accelerator, Chunk, Link, Memory
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.mapping import Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import random_chunk, random_mapping, resident
from dna.compile.lowering import lower
from dna.compile.placement import on_chip_candidates
from dna.compile.plan import DoesNotEndError
from dna.compile.program import Program
from dna.errors import UserError
from dna.network.network import Network, Weights

LINK_DEPTHS = (64, 64, 64, 128, 256, 512, 1024, 8192)
"""Small ones are the more likely: tensors must wrap around in them."""
FRAMES = (1, 1, 2, 3, 4)
MAX_CHUNKS = 4
_BEATS = 4096 // WORD_BYTES
"""Longest burst of a port that is as wide as a link."""


def random_accelerator(rng: Generator, chunks: int = 0, multipliers: int = 256 * 8) -> Accelerator:
    """An accelerator of so many chunks (0: two to four) of at most so many multipliers each, some of them linked."""
    count = chunks or int(rng.integers(2, MAX_CHUNKS + 1))
    engines = [_small_chunk(rng, multipliers) for _ in range(count)]
    share = 0.8 if rng.random() < 0.85 else 0.0
    links = tuple(
        Link(writer, reader, int(rng.choice(LINK_DEPTHS)))
        for writer in range(count)
        for reader in range(count)
        if rng.random() < share
    )
    ends = {end for link in links for end in (link.writer, link.reader)}
    return Accelerator(tuple(_wide(chunk) if at in ends else chunk for at, chunk in enumerate(engines)), links=links)


def _small_chunk(rng: Generator, multipliers: int) -> Chunk:
    while True:
        chunk = random_chunk(rng)
        if chunk.multipliers <= multipliers:
            return chunk


def _wide(chunk: Chunk) -> Chunk:
    """The chunk with ports as wide as a link."""
    return replace(chunk, port_bytes=WORD_BYTES, burst_beats=min(chunk.burst_beats, _BEATS))


def random_memories(rng: Generator, ports: int) -> tuple[Memory, ...]:
    """A random memory behind each of so many ports."""
    return tuple(
        Memory(int(rng.integers(1, 100)), int(rng.choice([1, 1, 1, 2, 3])), int(rng.integers(1, 40)))
        for _ in range(ports)
    )


def random_pipeline(network: Network, accelerator: Accelerator, rng: Generator, frames: int) -> Mapping:
    """A random legal mapping onto all chunks. UserError if there are fewer layers than chunks, or if none fits.

    Half of the time layers go from chunk to chunk in order, else anywhere. What could be on chip is, four times in
    five: there may be no room for all of it, see `compile_with_room`.
    """
    layers, count = lower(network).layers, len(accelerator.chunks)
    if len(layers) < count:
        raise UserError(f"network '{network.name}' has {len(layers)} layers to be executed, for {count} chunks")
    while True:
        homes = rng.integers(0, count, len(layers))
        chunks = tuple(int(home) for home in (sorted(homes) if rng.random() < 0.5 else homes))
        if len(set(chunks)) == count:
            break
    mapped = []
    kept = rng.random() < 0.5
    for layer, home in zip(layers, chunks, strict=True):
        chunk = accelerator.chunks[home]
        given = random_mapping(layer, chunk, rng)
        mapped.append(resident(layer, chunk, given) if kept and rng.random() < 0.7 else given)
    candidates = on_chip_candidates(network, accelerator, chunks)
    on_chip = frozenset(name for name in candidates if rng.random() < 0.8)
    return Mapping(tuple(mapped), chunks, frames, _batches(rng, len(layers), frames), on_chip)


def _batches(rng: Generator, layers: int, frames: int) -> tuple[int, ...]:
    """The same for all layers more often than not."""
    divisors = [n for n in range(1, frames + 1) if frames % n == 0]
    if rng.random() < 0.3:
        return tuple(int(rng.choice(divisors)) for _ in range(layers))
    return (int(rng.choice(divisors)),) * layers


def compile_with_room(
    network: Network, weights: Weights, accelerator: Accelerator, mapping: Mapping
) -> tuple[Mapping, Program]:
    """The Program, and the mapping it is compiled from: without those tensors on chip that have no room there.

    UserError if it does not compile without them either.
    """
    while True:
        try:
            return mapping, compile(network, weights, accelerator, mapping)
        except DoesNotEndError as error:
            if not mapping.on_chip:
                raise
            # Which tensor stands in the way of chunks that wait for each other is not always known.
            named = error.tensor if error.tensor in mapping.on_chip else min(mapping.on_chip)
            mapping = replace(mapping, on_chip=mapping.on_chip - {named})
