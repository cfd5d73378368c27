"""The walk over tiles against the exact schedule: batches of chunks, solved and random mappings, passes and frames."""

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import random_mapping
from dna.compile.lowering import lower
from dna.cost.schedule import Schedule, schedule
from dna.cost.walk import Walked, network_cycles
from dna.cost.walk_groups import writers
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.zoo import Request, build
from dna.search.mapping_space import decode, solve_mappings
from dna.search.refine import blank_weights
from tests.cost.chains import as_candidates, columns, random_array, random_chain

Points = list[tuple[Chunk, list[LayerMapping], Memory]]


def random_memory(rng: np.random.Generator) -> Memory:
    return Memory(int(rng.choice([8, 64, 150])), int(rng.choice([1, 2])), int(rng.choice([4, 16, 32])))


def points(network: Network, rng: np.random.Generator, count: int, solved: bool) -> Points:
    """Random chunks for a network, each with a memory and mappings."""
    layers, found = lower(network).layers, []
    while len(found) < count:
        chunk, memory = random_array(rng), random_memory(rng)
        if solved:
            solution = solve_mappings(layers, [chunk], memory)
            if not bool(solution.feasible.all()):
                continue
            ids = solution.ids[:, 0].tolist()
            mappings = [decode(layer, chunk, i) for layer, i in zip(layers, ids, strict=True)]
        else:
            try:
                mappings = [random_mapping(layer, chunk, rng) for layer in layers]
            except UserError:
                continue
        found.append((chunk, mappings, memory))
    return found


def walked(network: Network, given: Points, frames: int = 1, passes: int = 1) -> Walked:
    lowered = lower(network)
    mappings = [as_candidates([each[number] for _, each, _ in given]) for number in range(len(lowered.layers))]
    memories = [memory for _, _, memory in given]
    chunks = columns([chunk for chunk, _, _ in given])
    return network_cycles(lowered.layers, mappings, chunks, memories, writers(lowered), frames=frames, passes=passes)


def scheduled(network: Network, point: tuple[Chunk, list[LayerMapping], Memory], frames: int, passes: int) -> Schedule:
    chunk, mappings, memory = point
    mapping = Mapping(tuple(mappings), frames=frames)
    return schedule(compile(network, blank_weights(network), Accelerator((chunk,)), mapping), memory, passes)


@pytest.mark.parametrize(("solved", "seed"), [(True, 1), (True, 2), (False, 4)])
def test_a_frame_of_random_chains(solved: bool, seed: int):
    rng = np.random.default_rng(seed)
    network = random_chain(rng)
    given = points(network, rng, 3, solved)
    found = walked(network, given)
    for index, point in enumerate(given):
        exact = scheduled(network, point, 1, 1)
        assert 0.96 <= int(found.cycles[index]) / exact.cycles <= 1.002
        commits = [layer.committed for layer in exact.layers]
        assert np.allclose(found.layers[:, index], commits, rtol=0.04, atol=300)


@pytest.mark.parametrize(("frames", "seed"), [(1, 5), (3, 6)])
def test_passes_in_steady_state(frames: int, seed: int):
    rng = np.random.default_rng(seed)
    network = random_chain(rng)
    given = points(network, rng, 2, True)
    found = walked(network, given, frames, 3)
    for index, point in enumerate(given):
        exact = scheduled(network, point, frames, 4)
        assert 0.97 <= int(found.interval[index]) / exact.interval <= 1.005
        assert 0.97 <= int(found.cycles[index]) / scheduled(network, point, frames, 3).cycles <= 1.002


def test_concats_and_several_inputs():
    network = build("squeezenet1_1", Request((32, 32, 3), 0.5, 10)).network
    rng = np.random.default_rng(7)
    given = points(network, rng, 3, True)
    found = walked(network, given)
    for index, point in enumerate(given):
        assert 0.97 <= int(found.cycles[index]) / scheduled(network, point, 1, 1).cycles <= 1.002


def test_a_design_costs_the_same_in_any_company():
    rng = np.random.default_rng(8)
    network = random_chain(rng)
    given = points(network, rng, 3, True)
    together = walked(network, given, passes=2)
    for index, point in enumerate(given):
        alone = walked(network, [point], passes=2)
        assert torch.equal(alone.ends[:, 0], together.ends[:, index])
        assert int(alone.cycles[0]) == int(together.cycles[index])


@pytest.mark.parametrize("latency", [8, 64])
def test_one_tile_is_exact(latency: int):
    layer = Layer("a", "conv", "input", 16, 4, 4, 16)
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=4, ports=2, port_bytes=16)
    point = (chunk, [LayerMapping(2, 2, 2, 2, 16, 16, 1)], Memory(read_latency=latency))
    network = Network("one", (layer,))
    assert int(walked(network, [point]).cycles) == scheduled(network, point, 1, 1).cycles


def test_many_equal_tiles_with_laps_and_pages_left_out():
    layer = Layer("a", "conv", "input", 16, 64, 8, 64, (3, 3), (1, 1), (1, 1, 1, 1))
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=16, ports=2, port_bytes=16)
    point = (chunk, [LayerMapping(2, 2, 1, 4, 16, 16, 3)], Memory())
    network = Network("one", (layer,))
    assert 0.998 <= int(walked(network, [point]).cycles) / scheduled(network, point, 1, 1).cycles <= 1
