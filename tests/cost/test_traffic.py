"""What moves: the closed form against the jobs of compiled Programs, both by hand, and the least that can move."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile
from dna.compile.program import Program
from dna.cost.traffic import Feeding, Traffic, layer_traffic, link_traffic, program_traffic, total
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights
from dna.search.energy_tables import least_traffic
from dna.search.mapping_space import candidates, decode, shape_of, solve_mappings
from tests.compile.several import drawn_chunks_case
from tests.cost.chains import as_candidates, columns, random_array, random_chain

NAMES = [field.name for field in fields(Traffic)]
POINTWISE = Layer("a", "conv", "input", 32, 4, 4, 32)


def compiled(layers: tuple[Layer, ...], chunk: Chunk, mappings: list[LayerMapping]) -> Program:
    network = Network("some", layers)
    weights = random_weights(network, np.random.default_rng(0))
    return compile(network, weights, Accelerator((chunk,)), Mapping(tuple(mappings)))


def best(layers, chunk) -> list[LayerMapping] | None:
    solution = solve_mappings(layers, [chunk], Memory())
    if not bool(solution.feasible.all()):
        return None
    return [decode(layer, chunk, number) for layer, number in zip(layers, solution.ids[:, 0].tolist(), strict=True)]


def one_tile(chunk: Chunk, mapping: LayerMapping) -> tuple[Traffic, Traffic]:
    closed = layer_traffic(POINTWISE, as_candidates([mapping]), columns([chunk]))
    return closed, program_traffic(compiled((POINTWISE,), chunk, [mapping]))[0]


def test_one_tile_by_hand():
    """4 x 4 pixels of 32 channels to 32, on 16 x 4 x 4: each lane has one row, 2 groups of outputs, 8 steps."""
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=4, residual=False)
    closed, counted = one_tile(chunk, LayerMapping(4, 1, 1, 4, 32, 32, 1))
    cycles = 2 * 4 * 8
    for traffic in (closed, counted):
        assert float(traffic.macs) == 16 * 32 * 32
        assert float(traffic.outputs) == 16 * 32
        # Two loads of weights with parameters, a LAYER, an input, a TILE, a STORE: six instructions of 32 bytes.
        assert float(traffic.read) == 16 * 32 + 32 * 32 + 8 * 32 + 6 * 32
        assert float(traffic.written) == 16 * 32
        assert float(traffic.input) == 16 * 32 + 16 * 4 * cycles
        assert float(traffic.weight) == 32 * 32 + 64 * cycles
        assert float(traffic.param) == 8 * 32 + 8 * 16 * 32
        assert float(traffic.output) == 2 * 16 * 32
        assert float(traffic.residual) == float(traffic.sum) == float(traffic.link) == 0
        assert float(traffic.program) == 2 * 6 * 32


def test_dataflows_by_hand():
    """A weight stays for the 4 pixels of a lane, an input for 2 groups; sums then pass a memory 7 times of 8."""
    mapping = LayerMapping(4, 1, 1, 4, 32, 32, 1)
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=4, residual=False)
    weight = replace(chunk, dataflow="weight", sum_words=64)
    inputs = replace(chunk, dataflow="input", sum_words=64)
    cycles, sums = 2 * 4 * 8, 4 * 2 * 4 * 16 * (2 * 4 * 7)
    for traffic in one_tile(weight, mapping):
        assert float(traffic.weight) == 32 * 32 + 64 * cycles / 4
        assert float(traffic.input) == 16 * 32 + 16 * 4 * cycles
        assert float(traffic.sum) == sums
    for traffic in one_tile(inputs, mapping):
        assert float(traffic.weight) == 32 * 32 + 64 * cycles
        assert float(traffic.input) == 16 * 32 + 16 * 4 * cycles / 2
        assert float(traffic.sum) == sums


def test_closed_form_is_the_programs_count_on_random_chains():
    rng = np.random.default_rng(3)
    checked, same, ratios = 0, 0, []
    while checked < 9:
        network, chunk = random_chain(rng), random_array(rng)
        flow = ("output", "weight", "input")[checked % 3]
        chunk = replace(chunk, dataflow=flow, sum_words=0 if flow == "output" else 512)
        mappings = best(network.layers, chunk)
        if mappings is None:
            continue
        checked += 1
        exact = program_traffic(compiled(network.layers, chunk, mappings))
        for layer, mapping, counted in zip(network.layers, mappings, exact, strict=False):
            closed = layer_traffic(layer, as_candidates([mapping]), columns([chunk]))
            for name in NAMES:
                price, count = float(getattr(closed, name)), getattr(counted, name)
                assert (price > 0) == (count > 0), (name, layer)
                if count and name not in ("input", "program", "read"):
                    assert price == pytest.approx(count), (name, layer)
                elif count:
                    same += price == pytest.approx(count)
                    ratios.append(price / count)
    assert same / len(ratios) > 0.75  # the rest: borders, and instructions that waits add
    assert min(ratios) > 0.8 and max(ratios) < 1.3


def test_every_dram_word_of_a_program_is_counted_once():
    rng = np.random.default_rng(8)
    network, chunk = random_chain(rng), Chunk()
    program = compiled(network.layers, chunk, best(network.layers, chunk) or [])
    whole = total(program_traffic(program))
    loads = [job for job in program.instructions if job.op == "LOAD"]
    stores = [job for job in program.instructions if job.op == "STORE"]
    words = [sum(job["run"] * job["n_inner"] * job["n_outer"] for job in jobs) for jobs in (loads, stores)]
    words[0] += 128  # the first page, which no LOAD fetches
    assert [whole.read, whole.written] == pytest.approx([16.0 * count for count in words])
    assert whole.macs == sum(layer.macs for layer in network.layers)


@pytest.mark.parametrize("seed", range(4))
def test_links_take_what_memory_does_not(seed):
    case = drawn_chunks_case(seed)
    parts = program_traffic(case.program)
    whole, links = total(parts), link_traffic(case.program)
    assert whole.link == pytest.approx(sum(links.values()))
    assert all(value >= 0 for part in parts for value in (part.read, part.link, part.input))
    assert parts[-1].read >= 0  # what pages are filled up with


def test_closed_form_is_the_programs_count_with_batches_links_and_several_chunks():
    equal, all_of = 0, 0
    for seed in range(12):
        case = drawn_chunks_case(seed)
        mapping, chunks = case.mapping, case.accelerator.chunks
        for index, (layer, counted) in enumerate(zip(case.program.layers, program_traffic(case.program), strict=False)):
            feeding = Feeding(
                chip_in=int(layer.input in mapping.on_chip),
                chip_residual=int(layer.residual in mapping.on_chip),
                chip_out=int(layer.name in mapping.on_chip),
                batch=mapping.batch(index),
                resident=int(mapping.layers[index].resident),
            )
            own = columns([chunks[mapping.chunk(index)]])
            closed = layer_traffic(layer, as_candidates([mapping.layers[index]]), own, feeding)
            for name in ("weight", "param", "written", "output", "residual", "sum"):
                all_of += 1
                equal += float(getattr(closed, name)) == pytest.approx(getattr(counted, name))
            readers = {mapping.chunk(i) for i, la in enumerate(case.program.layers) if layer.name in la.sources}
            if len(readers) < 2 or not feeding.chip_out:  # a link for each reader is written
                moved, jobs = (t.read + t.link - t.program / 2 for t in (closed, counted))
                all_of += 1
                equal += float(moved) == pytest.approx(jobs)
    assert equal / all_of > 0.97, (equal, all_of)


def test_links_and_batches_in_the_closed_form():
    c, a = as_candidates([LayerMapping(4, 1, 1, 4, 32, 32, 1)]), columns([Chunk(residual=False)])
    plain = layer_traffic(POINTWISE, c, a)
    chip = layer_traffic(POINTWISE, c, a, Feeding(chip_in=1, chip_out=1))
    batched = layer_traffic(POINTWISE, c, a, Feeding(batch=4))
    assert float(chip.link) == 2 * 16 * 32 and float(chip.written) == 0
    assert float(plain.read - chip.read) == 16 * 32
    assert float(plain.read - batched.read) == (32 * 32 + 8 * 32 + 2 * 32) * 3 / 4


def test_no_mapping_moves_less_than_the_least():
    rng = np.random.default_rng(6)
    for flow in ("output", "weight", "input"):
        chunk = replace(random_array(rng), dataflow=flow, sum_words=0 if flow == "output" else 4096)
        for layer in random_chain(rng).layers:
            least = least_traffic(shape_of(layer), columns([chunk]))
            every = layer_traffic(layer, candidates(shape_of(layer), chunk.px), columns([chunk]))
            for name in NAMES:
                assert bool((getattr(every, name) >= getattr(least, name) - 1e-6).all()), (name, layer)


def test_batches_of_arrays_are_arrays_alone():
    rng = np.random.default_rng(1)
    chunks = [replace(random_array(rng), px=4) for _ in range(5)]
    c = candidates(shape_of(POINTWISE), 4)
    together = layer_traffic(POINTWISE, c, {n: v[:, None] for n, v in columns(chunks).items()})
    for row, chunk in enumerate(chunks):
        alone = layer_traffic(POINTWISE, c, columns([chunk]))
        for name in NAMES:
            assert torch.equal(getattr(together, name).expand(5, len(c))[row], getattr(alone, name).expand(len(c)))
