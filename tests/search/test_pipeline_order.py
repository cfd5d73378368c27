"""Designs whose chunks wait for each other for ever are known before anything is compiled."""

import torch

from dna.accelerator.chunk import Accelerator
from dna.accelerator.mapping import Mapping
from dna.compile.default_mapping import default_layer_mapping
from dna.compile.lowering import lower
from dna.compile.plan import DoesNotEndError, Plan
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.pipeline_order import comes_to_an_end, idle_chunks, layer_sources, waiting
from dna.search.pipeline_space import pipeline_space
from tests.search.toy import small_space

LAYERS = (
    Layer("a", "conv", "input", 16, 6, 6, 16),
    Layer("b", "conv", "a", 16, 6, 6, 16),
    Layer("c", "conv", "b", 16, 6, 6, 16, residual="a"),
    Layer("d", "conv", "c", 16, 6, 6, 16),
    Layer("e", "conv", "d", 16, 6, 6, 16, residual="b"),
)
SPACE = pipeline_space(
    LAYERS,
    small_space(residual=(1,), input_words=(512,), weight_words=(512,), oc=(16,)),
    (2, 3),
    shares=(1,),
    assignment="free",
    frames=(4,),
    batches=(1, 2, 4),
    batch_per="layer",
)


def test_what_the_compiler_cannot_end_is_known_before():
    """Every design that the compiler refuses waits; nearly all that it takes do not."""
    designs = SPACE.sample(150, torch.Generator().manual_seed(0))
    decoded = SPACE.decode(designs)
    said, idle = waiting(decoded, layer_sources(LAYERS), {}), idle_chunks(decoded)
    lowered = lower(Network("five", LAYERS))
    refused = []
    for row, design in enumerate(designs):
        point = SPACE.point(design)
        assert bool(idle[row]) == (len(set(point.assignment)) < len(point.chunks))
        if int(idle[row]):
            continue
        mapped = tuple(
            default_layer_mapping(layer, point.chunks[home])
            for layer, home in zip(LAYERS, point.assignment, strict=True)
        )
        mapping = Mapping(mapped, point.assignment, point.frames, point.batches)
        try:
            Plan(lowered, Accelerator(point.chunks), mapping).check_ends(())
        except DoesNotEndError:
            refused.append(row)
            assert int(said[row])
    assert 0 < len(refused) <= int(said.sum()) < len(designs)


def test_known_cases():
    sources = layer_sources(LAYERS)
    assert sources == ((), (0,), (1, 0), (2,), (3, 1))
    assert comes_to_an_end([0, 1, 0, 1, 0], [2] * 5, 4, sources)
    assert comes_to_an_end([0, 0, 1, 1, 1], [4, 1, 2, 4, 1], 4, sources)
    # Chunk 1 finishes group 1 of c before group 2 of b; c needs a whole group of two frames of b.
    assert not comes_to_an_end([0, 1, 0, 1, 0], [1, 1, 4, 1, 1], 4, sources)
