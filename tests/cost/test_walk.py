"""The walk over tiles against the exact schedule: never above it and nearly always equal, on designs of all kinds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import random_chunk, random_mapping, resident
from dna.compile.lowering import lower
from dna.cost.schedule import Schedule, schedule
from dna.cost.walk import Walked, groups_cycles, network_cycles
from dna.cost.walk_groups import design_groups, places, writers
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import RandomLimits, random_network
from dna.network.zoo import Request, build
from dna.search.mapping_space import decode, solve_mappings
from dna.search.refine import blank_weights
from dna.verify.random_accelerators import random_accelerator, random_pipeline
from tests.cost.chains import as_candidates, columns, random_array, random_chain

SMALL = RandomLimits(layers=3, macs=200_000, size=20, channels=70)
Design = tuple[Network, Accelerator, Mapping, Memory]
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
    return network_cycles(
        lowered.layers,
        mappings,
        chunks,
        memories,
        writers(lowered),
        frames=frames,
        passes=passes,
        places=places(lowered),
    )


def scheduled(network: Network, point: tuple[Chunk, list[LayerMapping], Memory], frames: int, passes: int) -> Schedule:
    chunk, mappings, memory = point
    mapping = Mapping(tuple(mappings), frames=frames)
    return schedule(compile(network, blank_weights(network), Accelerator((chunk,)), mapping), memory, passes)


@pytest.mark.parametrize(("solved", "seed"), [(True, 1), (True, 2), (False, 3), (False, 4)])
def test_a_frame_of_random_chains(solved: bool, seed: int):
    rng = np.random.default_rng(seed)
    network = random_chain(rng)
    given = points(network, rng, 2, solved)
    found = walked(network, given)
    for index, point in enumerate(given):
        exact = scheduled(network, point, 1, 1)
        assert 0.99 <= int(found.cycles[index]) / exact.cycles <= 1
        commits = [layer.committed for layer in exact.layers]
        assert np.allclose(found.layers[:, index], commits, rtol=0.01)
        assert all(found.layers[:, index].numpy() <= commits)


@pytest.mark.parametrize(("frames", "seed"), [(1, 5), (3, 6)])
def test_passes_in_steady_state(frames: int, seed: int):
    rng = np.random.default_rng(seed)
    network = random_chain(rng)
    given = points(network, rng, 2, True)
    found = walked(network, given, frames, 3)
    for index, point in enumerate(given):
        exact = scheduled(network, point, frames, 4)
        assert 0.99 <= int(found.interval[index]) / exact.interval <= 1
        assert 0.99 <= int(found.cycles[index]) / scheduled(network, point, frames, 3).cycles <= 1


def test_concats_and_several_inputs():
    network = build("squeezenet1_1", Request((32, 32, 3), 0.5, 10)).network
    rng = np.random.default_rng(7)
    given = points(network, rng, 3, True)
    found = walked(network, given)
    for index, point in enumerate(given):
        assert 0.99 <= int(found.cycles[index]) / scheduled(network, point, 1, 1).cycles <= 1


def test_a_design_costs_the_same_in_any_company():
    designs = drawn(8, 6, 1, 1)
    groups = [group for network, *rest in designs for group in design_groups(lower(network), *rest)]
    together = groups_cycles(groups, passes=2)
    for index, group in enumerate(groups):
        alone = groups_cycles([group], passes=2)
        assert torch.equal(alone.ends[:, 0], together.ends[:, index])
        assert int(alone.cycles[0]) == int(together.cycles[index])


@pytest.mark.parametrize("latency", [8, 64])
def test_one_tile_is_exact(latency: int):
    layer = Layer("a", "conv", "input", 16, 4, 4, 16)
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=4, ports=2, port_bytes=16)
    point = (chunk, [LayerMapping(2, 2, 2, 2, 16, 16, 1)], Memory(read_latency=latency))
    network = Network("one", (layer,))
    assert int(walked(network, [point]).cycles) == scheduled(network, point, 1, 1).cycles


def test_many_equal_tiles_and_several_pages_are_exact():
    layer = Layer("a", "conv", "input", 16, 64, 8, 64, (3, 3), (1, 1), (1, 1, 1, 1))
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=16, ports=2, port_bytes=16)
    point = (chunk, [LayerMapping(2, 2, 1, 4, 16, 16, 3)], Memory())
    network = Network("one", (layer,))
    assert int(walked(network, [point]).cycles) == scheduled(network, point, 1, 1).cycles


def random_design(rng: np.random.Generator, chunks: int, frames: int) -> Design | None:
    """A random network on random chunks without links, weights resident half of the time; None if it is none."""
    network = random_network(rng, SMALL)
    accelerator = random_accelerator(rng, chunks) if chunks > 1 else Accelerator((random_chunk(rng),))
    memory = random_memory(rng)
    try:
        if chunks > 1:
            mapping = replace(random_pipeline(network, accelerator, rng, frames), batches=(), on_chip=frozenset())
        else:
            chunk, keeps = accelerator.chunks[0], rng.random() < 0.5
            layers = [(layer, random_mapping(layer, chunk, rng)) for layer in lower(network).layers]
            kept = tuple(resident(layer, chunk, given) if keeps else given for layer, given in layers)
            mapping = Mapping(kept, frames=frames)
        groups = design_groups(lower(network), accelerator, mapping, memory)
        program = compile(network, blank_weights(network), accelerator, mapping)
    except UserError:
        return None
    tiles = sum(len(chunk.instructions) for chunk in program.chunks)
    return (network, accelerator, mapping, memory) if groups and tiles <= 600 else None


def drawn(seed: int, count: int, chunks: int, frames: int) -> list[Design]:
    rng = np.random.default_rng(seed)
    found: list[Design] = []
    while len(found) < count:
        design = random_design(rng, chunks, frames)
        if design is not None:
            found.append(design)
    return found


def exactly(design: Design, passes: int) -> Schedule:
    network, accelerator, mapping, memory = design
    return schedule(compile(network, blank_weights(network), accelerator, mapping), memory, passes)


@pytest.mark.parametrize(("seed", "frames", "passes"), [(11, 1, 1), (12, 1, 3), (13, 2, 2)])
def test_random_designs_are_never_above_the_schedule(seed: int, frames: int, passes: int):
    designs = drawn(seed, 25, 1, frames)
    groups = [group for network, *rest in designs for group in design_groups(lower(network), *rest)]
    cycles = groups_cycles(groups, frames=frames, passes=passes).cycles.tolist()
    ratios = np.array([found / exactly(d, passes).cycles for found, d in zip(cycles, designs, strict=True)])
    assert ratios.max() <= 1
    assert (ratios >= 0.98).mean() >= 0.95
    assert (ratios == 1).mean() >= 0.8


def test_the_slowest_chunk_alone_stands_for_a_pipeline_without_links():
    designs = drawn(14, 12, 2, 2)
    groups = [group for network, *rest in designs for group in design_groups(lower(network), *rest)]
    found = groups_cycles(groups, frames=2, passes=3).interval.reshape(len(designs), 2).amax(1).tolist()
    ratios = np.array([cycles / exactly(d, 4).interval for cycles, d in zip(found, designs, strict=True)])
    # A cycle more is the beat of a chunk that has not come to its steady state in three passes.
    assert ratios.max() <= 1.002
    assert np.median(ratios) >= 0.99


def test_resident_weights_save_their_loads():
    layer = Layer("a", "conv", "input", 16, 32, 8, 32, (3, 3), (1, 1), (1, 1, 1, 1))
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=16, weight_words=1024, ports=2, port_bytes=16)
    again = LayerMapping(2, 2, 2, 2, 16, 16, 3)
    cycles = []
    for mapping in (again, replace(again, resident=True)):
        design = (Network("one", (layer,)), Accelerator((chunk,)), Mapping((mapping,)), Memory())
        found = int(groups_cycles(design_groups(lower(design[0]), *design[1:])).cycles)
        assert found == exactly(design, 1).cycles
        cycles.append(found)
    assert cycles[1] < cycles[0]


def test_what_the_walk_does_not_know_is_refused():
    mean = Layer("a", "avgpool", "input", 16, 8, 8, 16, (3, 3), (1, 1), (1, 1, 1, 1), count_padding=False)
    network = Network("one", (mean,))
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=16)
    design = Mapping((LayerMapping(2, 2, 2, 2, 16, 16, 3),))
    with pytest.raises(UserError, match="leaves padding out"):
        groups_cycles(design_groups(lower(network), Accelerator((chunk,)), design, Memory()))
    for known in (replace(design, on_chip=frozenset({"a"})), replace(design, frames=2, batches=(1,))):
        with pytest.raises(UserError, match="take the schedule"):
            design_groups(lower(network), Accelerator((chunk,)), known, Memory())
