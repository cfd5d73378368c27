"""What the compiler's tests share: small Designs, drawn or made by hand."""

from __future__ import annotations

import collections.abc
from dataclasses import dataclass, replace

import numpy as np

from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import default_layer_mapping, default_mapping, random_chunk, random_mapping
from dna.compile.lowering import lower
from dna.compile.placement import on_chip_candidates
from dna.compile.plan import DoesNotEndError
from dna.compile.program import Program
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network, Weights
from dna.network.random import RandomLimits, random_input, random_network
from dna.quantize.random import random_weights


@dataclass(frozen=True)
class Case:
    network: Network
    weights: Weights
    chunk: Chunk
    mapping: Mapping
    x_HWC: np.ndarray

    def compile(self) -> Program:
        return compile(self.network, self.weights, Accelerator((self.chunk,)), self.mapping)


def drawn_case(seed: int, limits: RandomLimits | None = None) -> Case:
    """A random network, chunk and mapping that fit each other; without limits, every kind of layer occurs."""
    rng = np.random.default_rng(seed)
    limits = limits or RandomLimits(everything=True)
    while True:
        network, chunk = random_network(rng, limits), random_chunk(rng)
        try:
            mapping = Mapping(tuple(random_mapping(layer, chunk, rng) for layer in lower(network).layers))
        except UserError:
            continue
        return Case(network, random_weights(network, rng), chunk, mapping, random_input(network, rng))


def made_case(layers: list[Layer], chunk: Chunk, mappings: list[LayerMapping] | None = None, seed: int = 1) -> Case:
    """The given layers with random integers, in the default mapping if none is given."""
    rng = np.random.default_rng(seed)
    network = Network("made", tuple(layers))
    mapping = Mapping(tuple(mappings)) if mappings else default_mapping(network, chunk)
    return Case(network, random_weights(network, rng), chunk, mapping, random_input(network, rng))


def conv(name: str, source: str, shape: tuple[int, int, int], out_channels: int, k: int = 3, **more: object) -> Layer:
    """A convolution that keeps the size, with ReLU; `shape` is (height, width, channels)."""
    height, width, channels = shape
    layer = Layer(name, "conv", source, channels, height, width, out_channels, (k, k), padding=(k // 2,) * 4, lo=0)
    return layer.renamed(**more) if more else layer


@dataclass(frozen=True)
class Design:
    """As `Case`, for an accelerator of any number of chunks."""

    network: Network
    weights: Weights
    accelerator: Accelerator
    mapping: Mapping

    def compile(self) -> Program:
        return compile(self.network, self.weights, self.accelerator, self.mapping)

    def fitted(self) -> Design:
        """Without the on-chip tensors that have no room, and without batches that make chunks wait for each other."""
        while True:
            try:
                self.compile()
                return self
            except DoesNotEndError as problem:
                assert self.mapping.on_chip if problem.tensor else self.mapping.batches, problem
                less = {"on_chip": self.mapping.on_chip - {problem.tensor}} if problem.tensor else {"batches": ()}
                self = replace(self, mapping=replace(self.mapping, **less))  # type: ignore[arg-type]


def drawn_design(seed: int, most_chunks: int = 4, most_frames: int = 4) -> Design:
    """A random network on random chunks with random links, layers anywhere, random batches and on-chip tensors."""
    rng = np.random.default_rng(seed)
    while True:
        network = random_network(rng, RandomLimits(everything=True))
        layers = lower(network).layers
        count = int(rng.integers(1, min(most_chunks, len(layers)) + 1))
        chunks = tuple(
            replace(random_chunk(rng), port_bytes=16, burst_beats=int(rng.choice([2, 4, 16]))) for _ in range(count)
        )
        pairs = [(w, r) for w in range(count) for r in range(count) if rng.random() < 0.7]
        links = tuple(Link(w, r, int(rng.choice([64, 128, 256, 1024]))) for w, r in pairs)
        accelerator = Accelerator(chunks, links=links)
        on = tuple(int(chunk) for chunk in rng.integers(0, count, len(layers)))
        frames = int(rng.integers(1, most_frames + 1))
        divisors = [n for n in range(1, frames + 1) if frames % n == 0]
        batches = tuple(int(rng.choice(divisors)) for _ in layers)
        if len(set(on)) < count:
            continue
        try:
            mappings = tuple(random_mapping(layer, chunks[c], rng) for layer, c in zip(layers, on, strict=True))
        except UserError:
            continue
        possible = on_chip_candidates(network, accelerator, on)
        on_chip = frozenset(name for name in possible if rng.random() < 0.7)
        mapping = Mapping(mappings, on, frames, batches, on_chip)
        return Design(network, random_weights(network, rng), accelerator, mapping)


def made_design(
    layers: list[Layer], accelerator: Accelerator, changes: collections.abc.Mapping[str, object], seed: int = 1
) -> Design:
    """The given layers with random integers; `changes`: how the mapping differs from default ones on chunk 0."""
    rng = np.random.default_rng(seed)
    network = Network("made", tuple(layers))
    on = changes.get("chunks") or [0] * len(lower(network).layers)
    assert isinstance(on, (tuple, list))
    executed = zip(lower(network).layers, on, strict=True)
    plain = tuple(default_layer_mapping(layer, accelerator.chunks[chunk]) for layer, chunk in executed)
    mapping = replace(Mapping(plain), **changes)  # type: ignore[arg-type]
    return Design(network, random_weights(network, rng), accelerator, mapping)
