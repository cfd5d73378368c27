"""What the compiler's tests share: small Designs, drawn or made by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import default_mapping, random_chunk, random_mapping
from dna.compile.lowering import lower
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
