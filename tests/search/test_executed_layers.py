"""Groups, concats and means without padding are searched as what is executed: mapped, compiled, not priced too high."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Chunk, Memory
from dna.compile.limits import fits
from dna.compile.lowering import lower
from dna.cost.mapping_limits import Candidates, buffer_needs, legal
from dna.cost.walk import network_cycles
from dna.network.layer import Layer
from dna.network.network import Network, concat_layer
from dna.search.mapping_space import candidates, compute_bound, decode, shape_of, solve_mappings
from dna.search.one_chunk import best_mapping
from tests.cost.chains import as_candidates, columns, exact, random_array

GROUPED = [
    Layer("a", "conv", "input", 96, 12, 10, 64, (3, 3), (1, 1), (1, 1, 1, 1), groups=2),
    Layer("a", "conv", "input", 64, 8, 8, 128, groups=4),
    Layer("a", "conv", "input", 128, 7, 7, 128, (5, 5), (2, 2), (2, 2, 2, 2), groups=8),
]
MEANS = [
    Layer("a", "avgpool", "input", 40, 12, 11, 40, (3, 3), (1, 1), (1, 1, 1, 1), count_padding=False),
    Layer("a", "avgpool", "input", 24, 9, 2, 24, (3, 2), (2, 1), (1, 1, 1, 1), count_padding=False),
]


@pytest.mark.parametrize("layer", [*GROUPED, *MEANS], ids=lambda layer: f"{layer.op}{layer.groups}")
def test_never_above_the_schedule(layer: Layer) -> None:
    rng = np.random.default_rng(4)
    network = Network("one", (layer,))
    ratios = []
    for _ in range(8):
        chunk, memory = random_array(rng), Memory(int(rng.choice([8, 64])), int(rng.choice([1, 2])), 9)
        array = columns([chunk])
        solution = solve_mappings([layer], [chunk], memory)
        if not bool(solution.feasible.all()):
            continue
        mapping = decode(layer, chunk, int(solution.ids[0, 0]))
        known = exact(network, chunk, [mapping], memory).cycles
        # Tiles of a mean end where windows count differently, which the walk refuses.
        bound = compute_bound(layer, array)
        if len(layer.window_sizes) == 1:
            bound = network_cycles([layer], [as_candidates([mapping])], array, memory, {}).cycles
        ratios.append(int(bound) / known)
        assert int(compute_bound(layer, array)) <= int(solution.cycles[0, 0])
    assert len(ratios) >= 4 and max(ratios) <= 1
    assert len(layer.window_sizes) > 1 or np.median(ratios) > 0.99


@pytest.mark.parametrize("layer", [*GROUPED, *MEANS], ids=lambda layer: f"{layer.op}{layer.groups}")
def test_the_same_mappings_are_legal_as_for_the_compiler(layer: Layer) -> None:
    rng = np.random.default_rng(9)
    for _ in range(3):
        chunk = random_array(rng)
        table: Candidates = candidates(shape_of(layer), chunk.px)
        array = {name: value[:, None] for name, value in columns([chunk]).items()}
        fine = legal(layer, table, array)[0]
        for name, need in buffer_needs(layer, table, array).items():
            fine = fine & (need[0] <= getattr(chunk, name))
        for identity in rng.integers(0, len(table), 60).tolist():
            assert bool(fine[identity]) == fits(layer, chunk, decode(layer, chunk, identity))


def test_a_network_with_concats_is_mapped_by_its_executed_layers() -> None:
    stem = Layer("stem", "conv", "input", 3, 12, 12, 20, (3, 3), (1, 1), (1, 1, 1, 1))
    layers = [stem, Layer("a", "conv", "stem", 20, 12, 12, 12)]
    layers.append(concat_layer("cat", ("stem", "a", "input"), Network("n", tuple(layers)).shapes))
    layers.append(Layer("b", "conv", "cat", 35, 12, 12, 10, (3, 3), (1, 1), (1, 1, 1, 1)))
    network = Network("n", tuple(layers))
    chunk = Chunk()
    mapping = best_mapping(network, chunk, load_board("zc706"))
    assert mapping is not None and len(mapping.layers) == len(lower(network).layers) == 4
    cycles = exact(network, chunk, list(mapping.layers), Memory()).cycles
    solved = solve_mappings(lower(network).layers, [chunk], Memory())
    assert 0.6 * cycles < int(torch.sum(solved.cycles)) < 1.02 * cycles
