"""Random inverted-residual chains, arrays for them, and both models' cycles."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile
from dna.cost.mapping_limits import Candidates
from dna.cost.schedule import Schedule, schedule
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights


def conv(
    name: str, source: Layer, out: int, kernel: int = 1, stride: int = 1, op: str = "conv", **more: object
) -> Layer:
    pad = kernel // 2
    return Layer(
        name=name,
        op=op,  # type: ignore[arg-type]
        input=source.name,
        in_channels=source.out_channels,
        in_height=source.out_height,
        in_width=source.out_width,
        out_channels=out,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding=(pad, pad, pad, pad),
        in_signed=source.out_signed,
        **more,  # type: ignore[arg-type]
    )


def random_chain(rng: np.random.Generator) -> Network:
    """Stem, two to four inverted residuals, pooling and classifier on 8 to 40 pixels."""
    size = int(rng.choice([8, 12, 16, 28, 40]))
    stem = Layer("stem", "conv", "input", int(rng.choice([1, 3])), size, size, 16, (3, 3), (1, 1), (1, 1, 1, 1))
    layers = [stem]
    for block in range(int(rng.integers(2, 5))):
        source = layers[-1]
        wide = source.out_channels * int(rng.choice([1, 3, 6]))
        stride = int(rng.choice([1, 1, 2])) if source.out_height > 4 else 1
        out = source.out_channels if rng.random() < 0.5 else int(rng.choice([16, 24, 32, 40]))
        layers.append(conv(f"b{block}e", source, wide))
        layers.append(conv(f"b{block}d", layers[-1], wide, int(rng.choice([3, 5])), stride, "depthwise"))
        add = source.name if stride == 1 and out == source.out_channels else None
        layers.append(conv(f"b{block}p", layers[-1], out, residual=add))
    last = layers[-1]
    pool = Layer("pool", "avgpool", last.name, last.out_channels, last.out_height, last.out_width, last.out_channels)
    pool = pool.renamed(kernel=(last.out_height, last.out_width), stride=(1, 1))
    layers += [pool, conv("fc", pool, 10)]
    return Network("chain", tuple(layers))


def random_array(rng: np.random.Generator, residual: bool = True) -> Chunk:
    """A chunk of sensible proportions."""
    oc, ic = (int(v) for v in rng.choice([(2, 8), (4, 4), (8, 4), (16, 1), (16, 4), (16, 8), (32, 4), (64, 2)]))
    return Chunk(
        oc=oc,
        ic=ic,
        px=int(rng.choice([1, 2, 4, 7, 8, 16])),
        post_lanes=int(rng.choice([v for v in (2, 4, 8, 16) if oc % v == 0])),
        input_words=int(rng.choice([256, 512, 1024, 2048])),
        weight_words=int(rng.choice([256, 1024, 2048])),
        param_words=256,
        output_words=int(rng.choice([128, 512, 2048])),
        residual=residual,
        ports=int(rng.choice([1, 2])),
        port_bytes=int(rng.choice([8, 16])),
    )


def exact(network: Network, chunk: Chunk, mappings: list[LayerMapping], memory: Memory) -> Schedule:
    weights = random_weights(network, np.random.default_rng(0))
    return schedule(compile(network, weights, Accelerator((chunk,)), Mapping(tuple(mappings))), memory)


def as_candidates(mappings: list[LayerMapping]) -> Candidates:
    rows = [
        [int(m.order == "weights") if f.name == "order" else getattr(m, f.name) for f in fields(Candidates)]
        for m in mappings
    ]
    return Candidates.of(torch.tensor(rows))


def columns(chunks: list[Chunk]) -> dict[str, torch.Tensor]:
    """Parameters of chunks, int64 `(chunks,)` each."""
    return {f.name: torch.tensor([c.integers[f.name] for c in chunks]) for f in fields(Chunk)}
