"""What the compiler emits: order, counts, places and waits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.isa import DESTINATIONS, INSTRUCTION_BYTES, REGIONS
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import resident
from dna.compile.interpret import interpret
from dna.compile.limits import slices
from dna.compile.lowering import lower
from dna.compile.paging import PAGE_LOAD
from dna.compile.program import Program, decode
from dna.compile.tiling import channel_spans, col_spans, row_spans, strides
from dna.errors import UserError
from dna.network.network import LayerWeights, Network
from dna.quantize.reference import run
from tests.compile.cases import conv, drawn_case, made_case


def loads(program: Program, dest: str, layer: int | None = None) -> list[int]:
    """Indices of the LOADs into a buffer."""
    return [
        index
        for index, job in enumerate(program.instructions)
        if job.op == "LOAD" and job["dest"] == DESTINATIONS[dest] and layer in (None, job.layer)
    ]


def test_compiling_twice_gives_the_same_bytes() -> None:
    first, second = drawn_case(3).compile(), drawn_case(3).compile()
    assert first.image == second.image
    assert first.instructions == second.instructions


@pytest.mark.parametrize("seed", range(5))
def test_the_image_holds_the_instructions(seed: int) -> None:
    program = drawn_case(seed).compile()
    for index, instruction in enumerate(program.instructions):
        read = decode(program.image[index * INSTRUCTION_BYTES :][:INSTRUCTION_BYTES])
        assert read.op == instruction.op
        assert all(read[name] == value for name, value in instruction.values.items())


def test_pages() -> None:
    """Each page but the last loads the next one, and END fills the last."""
    layer = conv("a", "input", (20, 20, 16), 16)
    program = made_case([layer], Chunk(px=1), [LayerMapping(1, 1, 2, 2, 16, 16, 3)]).compile()
    assert len(program.instructions) % 64 == 0
    heads = [program.instructions[index] for index in range(PAGE_LOAD, len(program.instructions), 64)]
    assert len(heads) > 3
    assert [head["base"] for head in heads[:-1]] == [64 * ((k + 1) % 2) for k in range(len(heads) - 1)]
    assert all(head["dest"] == DESTINATIONS["PROGRAM"] and head["run"] == 128 for head in heads[:-1])
    assert program.instructions[-1].op == "END"


@pytest.mark.parametrize("seed", range(25))
def test_jobs_are_as_many_and_as_large_as_the_tile_functions_say(seed: int) -> None:
    case = drawn_case(seed)
    program = case.compile()
    for index, (layer, mapping) in enumerate(zip(program.layers, case.mapping.layers, strict=True)):
        jobs = Counter(job.op for job in program.instructions if job.layer == index)
        (stride_h, stride_w), parts = strides(layer), slices(layer, mapping)
        rows, cols = len(row_spans(layer, mapping)), len(col_spans(layer, mapping))
        if len(layer.window_sizes) == 1:
            assert rows == tile.tiles(layer.out_height, mapping.tile_rows)
            assert cols == tile.tiles(layer.out_width, mapping.tile_cols)
        channels = tile.tiles(layer.group_outputs, mapping.out_channels)
        outer, per_channel = int(mapping.order == "inputs"), int(layer.per_channel)
        assert jobs["TILE"] == layer.groups * tile.compute_tiles(rows * cols, channels, parts)
        assert jobs["STORE"] == layer.groups * rows * cols * channels
        inputs = tile.input_loads(rows * cols, channels, parts, per_channel, outer)
        assert len(loads(program, "INPUT", index)) == layer.groups * inputs
        if len(layer.window_sizes) > 1:
            continue
        signals = sum(program.instructions[at]["signal"] for at in loads(program, "PARAM", index))
        signals += sum(program.instructions[at]["signal"] for at in loads(program, "WEIGHT", index))
        tiles = layer.groups * channels
        assert signals == tile.weight_loads(rows * cols, tiles, parts, int(layer.has_weights), outer)
        if parts == 1:
            real_h = tile.total_real(
                layer.out_height, mapping.tile_rows, stride_h, layer.kernel[0], layer.padding[0], layer.in_height
            )
            real_w = tile.total_real(
                layer.out_width, mapping.tile_cols, stride_w, layer.kernel[1], layer.padding[1], layer.in_width
            )
            words = sum(
                job["run"] * job["n_inner"] * job["n_outer"]
                for job in (program.instructions[at] for at in loads(program, "INPUT", index))
            )
            depth = tile.channel_words(layer.in_channels)
            repeats = 1 if layer.per_channel else inputs // (rows * cols)
            assert words == real_h * real_w * depth * repeats


def test_weights_are_asked_for_before_the_layer_starts() -> None:
    layers = [conv("a", "input", (8, 8, 16), 16), conv("b", "a", (8, 8, 16), 16)]
    for ports in (1, 2):
        mappings = [LayerMapping(2, 1, 1, 8, 16, 16, 3)] * 2
        program = made_case(layers, Chunk(px=2, ports=ports), mappings).compile()
        starts = [index for index, job in enumerate(program.instructions) if job.op == "LAYER"]
        first_tile = next(index for index, job in enumerate(program.instructions) if job.op == "TILE")
        (weights,) = loads(program, "WEIGHT", 1)
        assert weights < starts[1]
        assert (weights < first_tile) == (ports == 2)
        assert program.instructions[weights]["wait_free"] == 0


def test_a_layer_starts_when_its_first_rows_are_stored() -> None:
    """Four bands of two rows; a 3 x 3 kernel needs one row of the next band, too."""
    layers = [conv("a", "input", (8, 8, 16), 16), conv("b", "a", (8, 8, 16), 16)]
    program = made_case(layers, Chunk(px=2), [LayerMapping(2, 1, 1, 8, 16, 16, 3)] * 2).compile()
    waits = [program.instructions[at]["wait_commit"] for at in loads(program, "INPUT", 1)]
    assert waits == [2, 3, 4, 4]


def test_whole_bands_are_one_run() -> None:
    layer = conv("a", "input", (8, 8, 40), 16, k=1)
    program = made_case([layer], Chunk(px=2), [LayerMapping(2, 1, 1, 8, 16, 40, 1)]).compile()
    jobs = [program.instructions[at] for at in loads(program, "INPUT")]
    assert all((job["run"], job["n_inner"], job["n_outer"]) == (2 * 3 * 8, 1, 1) for job in jobs)
    assert [job["address"] for job in jobs] == [0, 48, 96, 144]


def test_places_of_tensors() -> None:
    layers = [conv("a", "input", (5, 5, 16), 16), conv("b", "a", (5, 5, 16), 16), conv("c", "b", (5, 5, 16), 16)]
    program = made_case(layers, Chunk(px=1)).compile()
    places = {name: (tensor.region, tensor.address) for name, tensor in program.tensors.items()}
    assert places == {"input": ("INPUT", 0), "a": ("WORK", 0), "b": ("WORK", 256), "c": ("OUTPUT", 0)}
    assert program.region_words["WORK"] == 512
    assert program.region_words["PROGRAM"] * 16 == len(program.image)
    assert all(
        job["region"] == REGIONS["PROGRAM"] for job in (program.instructions[at] for at in loads(program, "WEIGHT"))
    )


def test_weights_are_stored_once() -> None:
    """A layer whose weights are loaded again for each spatial tile does not store them again."""
    layer = conv("a", "input", (8, 8, 16), 32)
    program = made_case([layer], Chunk(px=2), [LayerMapping(2, 1, 1, 8, 16, 16, 3, "inputs")]).compile()
    addresses = [program.instructions[at]["address"] for at in loads(program, "WEIGHT")]
    assert len(addresses) == 8
    assert len(set(addresses)) == 2


def test_overflow_is_refused() -> None:
    layer = conv("a", "input", (4, 4, 16), 1)
    weights = LayerWeights(
        np.full((1, 16, 3, 3), 127, np.int8),
        np.full(1, 2**31 - 1, np.int32),
        np.full(1, 1 << 16, np.int32),
        np.full(1, 20, np.int32),
    )
    network, mapping = Network("n", (layer,)), Mapping((LayerMapping(1, 1, 1, 1, 1, 16, 3),))
    with pytest.raises(UserError, match="layer 'a': the accumulator of channel 0"):
        compile(network, {"a": weights}, Accelerator(), mapping)


@pytest.mark.parametrize("seed", range(3))
def test_resident_weights_are_loaded_once_and_used_in_parts(seed: int) -> None:
    """One weight tile per layer; each tile of output channels reads its own part of it."""
    for number in range(100 * seed, 100 * seed + 100):
        case = drawn_case(number)
        layers = lower(case.network).layers
        kept = tuple(resident(la, case.chunk, m) for la, m in zip(layers, case.mapping.layers, strict=True))
        several = [i for i, la in enumerate(layers) if kept[i].resident and len(channel_spans(la, kept[i])) > 1]
        if not several:
            continue
        program = compile(case.network, case.weights, Accelerator((case.chunk,)), Mapping(kept))
        for index in several:
            tiles = [job for job in program.instructions if job.op == "TILE" and job.layer == index]
            assert len(loads(program, "PARAM", index)) == 1
            assert len({job["p_base"] for job in tiles}) == len(channel_spans(layers[index], kept[index]))
            assert sum(job["free_w"] for job in tiles) == 1 and tiles[-1]["free_w"]
        expected = run(case.network, case.weights, case.x_HWC)
        got = interpret(program, case.x_HWC, np.random.default_rng(0))
        assert all(np.array_equal(got[name], expected[name]) for name in expected)
        return
    raise AssertionError("no draw has a resident layer of several parts")
