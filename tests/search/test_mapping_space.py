"""The mapping solver against the compiler's limits and against enumeration one by one."""

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Chunk, Memory
from dna.compile import limits
from dna.compile.default_mapping import _draw, random_chunk
from dna.cost.cycles import price
from dna.cost.mapping_limits import buffer_needs, legal
from dna.network.layer import Layer
from dna.network.random import random_network
from dna.search.mapping_space import (
    UNMAPPED,
    buffer_tables,
    candidates,
    compute_bound,
    decode,
    port_bound,
    shape_of,
    solve_mappings,
)
from tests.cost.chains import as_candidates, columns, random_array, random_chain

MEMORY = Memory()


def test_batched_limits_agree_with_the_compiler():
    rng = np.random.default_rng(1)
    seen = {True: 0, False: 0}
    for _ in range(25):
        network, chunk = random_network(rng), random_chunk(rng)
        array = {name: value[:, None] for name, value in columns([chunk]).items()}
        for layer in network.layers:
            mappings = [_draw(layer, chunk, rng) for _ in range(10)]
            batch = as_candidates(mappings)
            fits = legal(layer, batch, array)[0]
            for name, need in buffer_needs(layer, batch, array).items():
                fits = fits & (need[0] <= getattr(chunk, name))
            for mapping, fit in zip(mappings, fits.tolist(), strict=True):
                assert fit == limits.fits(layer, chunk, mapping)
                seen[fit] += 1
    assert min(seen.values()) > 20


def test_what_is_returned_can_be_compiled_and_what_is_not_has_no_candidate_that_could():
    rng = np.random.default_rng(2)
    seen = {True: 0, False: 0}
    for _ in range(12):
        layers, chunk = random_network(rng).layers, random_chunk(rng)
        solution = solve_mappings(layers, [chunk], MEMORY)
        for row, layer in enumerate(layers):
            feasible = bool(solution.feasible[row, 0])
            if feasible:
                limits.check(layer, chunk, decode(layer, chunk, int(solution.ids[row, 0])))
            else:
                count = len(candidates(shape_of(layer), chunk.px))
                assert not any(limits.fits(layer, chunk, decode(layer, chunk, i)) for i in range(count))
            seen[feasible] += 1
    assert seen[True] > 20


def test_solver_equals_pricing_each_pair_alone():
    rng = np.random.default_rng(3)
    layers = random_chain(rng).layers[1:4]
    chunks = [random_array(rng) for _ in range(2)]
    solution = solve_mappings(layers, chunks, MEMORY)
    assert solution.cycles.shape == (len(layers), len(chunks))
    for row, layer in enumerate(layers):
        for column, chunk in enumerate(chunks):
            best = UNMAPPED
            for identity in range(len(candidates(shape_of(layer), chunk.px))):
                mapping = decode(layer, chunk, identity)
                if limits.fits(layer, chunk, mapping):
                    best = min(best, int(price(layer, as_candidates([mapping]), columns([chunk]), MEMORY).cycles))
            assert int(solution.cycles[row, column]) == best


def test_equal_pairs_are_solved_to_equal_ids():
    rng = np.random.default_rng(4)
    layer, chunk = random_chain(rng).layers[2], random_array(rng)
    solution = solve_mappings([layer, layer.renamed(name="again")], [chunk, chunk], MEMORY)
    assert len(solution.ids.unique()) == 1 and len(solution.cycles.unique()) == 1


def test_table_equals_the_solver_at_every_choice_of_buffers():
    layer = Layer("a", "conv", "input", 24, 9, 7, 40, (3, 3), (1, 1), (1, 1, 1, 1))
    levels = [(64, 256), (64, 1024), (16, 64), (64, 512)]
    base = {"oc": 16, "ic": 4, "px": 3, "post_lanes": 4}
    table = buffer_tables(layer, columns([Chunk(**base)]), levels, MEMORY)[0]
    names = ("input_words", "weight_words", "param_words", "output_words")
    for index in torch.cartesian_prod(*(torch.arange(2) for _ in levels)).tolist():
        words = {name: level[i] for name, level, i in zip(names, levels, index, strict=True)}
        solved = solve_mappings([layer], [Chunk(**base, **words)], MEMORY)
        assert int(table[tuple(index)]) == int(solved.cycles[0, 0])
    assert len(table.unique()) > 2


def test_bounds_are_below_every_mapping():
    rng = np.random.default_rng(5)
    tightest = {"compute": 0.0, "port": 0.0}
    for _ in range(8):
        memory = Memory(beat_interval=int(rng.integers(1, 9)))
        layers, chunk = random_chain(rng).layers, random_array(rng)
        solution = solve_mappings(layers, [chunk], memory)
        for layer, cycles in zip(layers, solution.cycles[:, 0].tolist(), strict=True):
            bounds = {"compute": compute_bound(layer, columns([chunk]))}
            bounds["port"] = port_bound(layer, columns([chunk]), memory)
            for name, bound in bounds.items():
                assert int(bound[0]) <= cycles, (name, layer)
                tightest[name] = max(tightest[name], int(bound[0]) / cycles)
    assert min(tightest.values()) > 0.5, "both bounds are of use"


def test_port_bound_counts_every_byte_once():
    # 2 of 3 rows and columns are read, of 2 words each; 40 outputs are 3 words; 2 x 2 weights for 20 x 40 channels.
    layer = Layer("a", "conv", "input", 20, 6, 6, 40, (2, 2), (3, 3))
    values = columns([Chunk(ports=2, port_bytes=16), Chunk(ports=1, port_bytes=8)])
    inputs, weights = 4 * 4 * 2, 2 * 2 * 20 * 40 // 16
    assert port_bound(layer, values, MEMORY).tolist() == [max(inputs, weights), 2 * (inputs + weights)]
    wide = Layer("b", "conv", "input", 1, 9, 9, 64)
    assert port_bound(wide, values, MEMORY).tolist() == [81 * 4, 2 * 81 * 4], "stores are the most here"


@pytest.mark.parametrize("px", [1, 6, 16])
def test_candidates_cover_rows_and_columns_without_repetition(px):
    layer = shape_of(Layer("a", "conv", "input", 16, 12, 12, 48, (3, 3), (1, 1), (1, 1, 1, 1)))
    table = candidates(layer, px)
    rows = torch.stack([getattr(table, name) for name in table.__dataclass_fields__], dim=1)
    assert len(torch.unique(rows, dim=0)) == len(rows)
    assert int((table.lanes_y * table.lanes_x).max()) <= px
    if px > 1:
        assert bool((table.lanes_y > 1).any()) and bool((table.lanes_x > 1).any())
    assert bool((table.order == 1).any())
