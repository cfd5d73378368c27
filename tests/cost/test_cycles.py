"""The closed form against the exact schedule, and by hand."""

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.mapping import LayerMapping
from dna.cost.cycles import frame_start, price, start_cycles
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.mapping_space import decode, solve_mappings
from tests.cost.chains import as_candidates, columns, exact, random_array, random_chain


def ratios(count: int, seed: int) -> list[float]:
    """Sum of prices over the exact cycles of a frame; mappings by the solver."""
    rng = np.random.default_rng(seed)
    prices = []
    while len(prices) < count:
        network, chunk = random_chain(rng), random_array(rng)
        memory = Memory(int(rng.choice([8, 64, 150])), int(rng.choice([1, 2])), int(rng.choice([4, 16])))
        solution = solve_mappings(network.layers, [chunk], memory)
        if not bool(solution.feasible.all()):
            continue
        ids = solution.ids[:, 0].tolist()
        mappings = [decode(layer, chunk, i) for layer, i in zip(network.layers, ids, strict=True)]
        cycles = exact(network, chunk, mappings, memory).cycles
        prices.append((int(frame_start(columns([chunk]), memory)) + int(solution.cycles.sum())) / cycles)
    return prices


def test_price_is_close_to_the_schedule_on_random_chains():
    prices = ratios(16, 5)
    assert max(prices) <= 1.02
    assert np.median(prices) > 0.93
    assert min(prices) > 0.6


def test_price_ranks_mappings_as_the_schedule_does():
    rng = np.random.default_rng(11)
    agree = total = 0
    for _ in range(5):
        chunk, memory = random_array(rng), Memory()
        layer = Layer("a", "conv", "input", 24, 14, 14, 48, (3, 3), (1, 1), (1, 1, 1, 1))
        network = Network("one", (layer,))
        solution = solve_mappings([layer], [chunk], memory)
        best = decode(layer, chunk, int(solution.ids[0, 0]))
        best_cycles = exact(network, chunk, [best], memory).cycles
        for identity in rng.integers(0, 60, 6).tolist():
            other = decode(layer, chunk, identity)
            try:
                total += 1
                agree += best_cycles <= 1.05 * exact(network, chunk, [other], memory).cycles
            except Exception as error:  # a mapping that the compiler refuses says nothing
                assert "layer 'a'" in str(error)
                agree += 1
    assert agree == total


def test_one_tile_by_hand():
    """1 x 1 convolution 16 -> 16 on 4 x 4, one tile: the chain from commit to commit, stage by stage."""
    layer = Layer("a", "conv", "input", 16, 4, 4, 16)
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=4, ports=2, port_bytes=16)
    mapping = LayerMapping(2, 2, 2, 2, 16, 16, 1)
    memory = Memory(read_latency=50, beat_interval=1, write_latency=9)
    priced = price(layer, as_candidates([mapping]), columns([chunk]), memory)
    load = 50 + 4 - 1 + 16  # latency, register stages less one interval, words
    array = 4 * (4 + 12)  # pixels of a lane, each 4 MAC cycles and 12 to wait for 4 lanes x 4 slices
    post = 13 - 12 + 16  # stages, less the pause already over, the last pixel's 16 slices
    store = 10 - 1 + 9 + 16
    assert int(priced.cycles) == load + array + post + store
    assert bool(priced.legal)
    assert {name: int(need) for name, need in priced.needs.items()} == {
        "input_words": 8,
        "weight_words": 8,
        "param_words": 8,
        "output_words": 32,
    }


def test_start_is_the_first_page():
    array = columns([Chunk(port_bytes=8), Chunk(port_bytes=16)])
    assert start_cycles(array, Memory(read_latency=64)).tolist() == [256 + 64 + 7, 128 + 64 + 7]


@pytest.mark.parametrize("name", ["input_words", "weight_words", "param_words", "output_words"])
def test_cycles_do_not_depend_on_buffer_depths(name):
    layer = Layer("a", "depthwise", "input", 32, 8, 8, 32, (3, 3), (1, 1), (1, 1, 1, 1))
    mapping = as_candidates([LayerMapping(1, 2, 4, 4, 16, 32, 3)])
    small, large = (Chunk(**{name: depth}) for depth in (512, 2048))
    priced = price(layer, mapping, columns([small, large]), Memory())
    assert priced.cycles[0, 0] == priced.cycles[1, 0] and torch.equal(priced.legal[0], priced.legal[1])
