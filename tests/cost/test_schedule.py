"""The schedule of several chunks and passes: passes left out are those that would be walked, and what always holds."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import Mapping
from dna.compile.compiler import compile
from dna.cost import schedule as module
from dna.cost.counters import Counter, PassCounter
from dna.cost.schedule import schedule
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights
from dna.search.mapping_space import decode, solve_mappings
from tests.compile.cases import drawn_case
from tests.compile.several import drawn_chunks_case


@pytest.mark.parametrize("seed", range(12))
def test_passes_left_out_are_those_walked(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = drawn_chunks_case(seed)
    memories = case.memories(np.random.default_rng(seed))
    jumped = schedule(case.program, memories, 9)
    monkeypatch.setattr(module, "_shifted", lambda *_: False)
    assert jumped == schedule(case.program, memories, 9)


@pytest.mark.parametrize("seed", range(12))
def test_passes_follow_each_other(seed: int) -> None:
    case = drawn_chunks_case(seed)
    memories = case.memories(np.random.default_rng(seed))
    one, three = schedule(case.program, memories), schedule(case.program, memories, 3)
    assert one.layers == three.layers and one.pass_ends[0] == three.pass_ends[0]
    assert one.interval == one.cycles and three.interval <= one.cycles
    assert list(three.pass_ends) == sorted(set(three.pass_ends))
    assert three.cycles >= three.pass_ends[-1] >= max(layer.committed for layer in one.layers) + 1
    for result in (one, three):
        assert result.cycles == max(chunk.cycles for chunk in result.chunks)
        assert all(chunk.causes.total == chunk.cycles - 1 for chunk in result.chunks)
    busy = [(a.causes.busy, b.causes.busy) for a, b in zip(one.chunks, three.chunks, strict=True)]
    assert all(after == 3 * before for before, after in busy)


def test_many_passes_cost_no_time() -> None:
    program = drawn_chunks_case(1).program
    begin = time.perf_counter()
    result = schedule(program, Memory(), 1_000_000)
    assert time.perf_counter() - begin < 10
    assert len(result.pass_ends) == 1_000_000 and result.pass_ends[-1] - result.pass_ends[-2] == result.interval


def test_a_chunk_alone_and_among_others() -> None:
    """A second chunk with a part of the layers takes none of the first one's time but through data."""
    case = drawn_case(3)
    alone = schedule(case.compile(), Memory(30, 1, 8))
    accelerator = Accelerator((case.chunk, Chunk()))
    first = case.network.layers[0]
    network = Network("two", (first, Layer("tail", "maxpool", first.name, *_shape(first), in_signed=first.out_signed)))
    solved = solve_mappings([network.layers[1]], [accelerator.chunks[1]], Memory())
    tail = decode(network.layers[1], accelerator.chunks[1], int(solved.ids[0, 0]))
    weights = random_weights(network, np.random.default_rng(0))
    program = compile(network, weights, accelerator, Mapping((case.mapping.layers[0], tail), (0, 1)))
    both = schedule(program, Memory(30, 1, 8))
    assert both.layers[0].computed == alone.layers[0].computed


def _shape(layer: Layer) -> tuple[int, int, int, int]:
    return layer.out_channels, layer.out_height, layer.out_width, layer.out_channels


def test_only_one_chunk_has_causes_and_only_a_frame_alone_a_latency() -> None:
    single, several = drawn_case(1).compile(), drawn_chunks_case(1).program
    assert schedule(single, Memory()).latency == schedule(single, Memory()).cycles
    with pytest.raises(ValueError, match="none was alone"):
        _ = schedule(single, Memory(), 2).latency
    with pytest.raises(ValueError):
        _ = schedule(several, Memory()).causes
    with pytest.raises(ValueError, match="passes is 0"):
        schedule(single, Memory(), 0)


def test_a_slower_memory_behind_one_port() -> None:
    """Each port has the memory it is given, and every port is used."""
    case = drawn_chunks_case(2)
    fast = [Memory(10)] * case.accelerator.ports
    ends = []
    for port in range(len(fast)):
        slow = [*fast[:port], Memory(2000), *fast[port + 1 :]]
        ends.append(schedule(case.program, tuple(slow)).cycles)
    assert min(ends) > schedule(case.program, tuple(fast)).cycles


def test_counters() -> None:
    counter = Counter()
    for cycle in range(10, 6000):
        counter.event(cycle)
    assert counter.reached(5990) == 6000 and counter.reached(5990 - 4096) == 6000 and counter.reached(5985) == 5995
    passes = PassCounter(3)
    for cycle in (5, 6, 7, 20):
        passes.event(cycle)
    assert [passes.reached(*at) for at in ((-1, 3), (0, 0), (0, 1), (0, 3), (1, 0), (1, 1))] == [0, 0, 6, 8, 8, 21]
    for at in ((1, 2), (0, 4), (2, 0)):
        with pytest.raises(LookupError, match="deadlock"):
            passes.reached(*at)
