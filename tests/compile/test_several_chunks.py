"""Several chunks, links, frames and batches: what waits for what, where tensors lie, what is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.isa import DESTINATIONS, ENGINES, EVENTS, REGIONS
from dna.accelerator.mapping import LayerMapping
from dna.compile import deadlock
from dna.compile.interpret import interpret_frames
from dna.compile.program import Instruction, Program
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network, concat_layer
from dna.network.random import random_input
from dna.quantize.reference import run
from tests.compile.cases import Design, conv, drawn_design, made_design

CHUNK = Chunk(px=2, burst_beats=8)
CHAIN = [conv("a", "input", (8, 8, 16), 16), conv("b", "a", (8, 8, 16), 16)]
BANDS = LayerMapping(2, 1, 1, 8, 16, 16, 3)
"""Four bands of two rows, 16 words each."""


def chain(words: int = 0, **more: object) -> Design:
    """Two convolutions on two chunks, tensor `a` in a link of so many words, or in memory."""
    links = (Link(0, 1, words),) if words else ()
    on_chip = frozenset({"a"}) if words else frozenset()
    mapping = {"layers": (BANDS, BANDS), "chunks": (0, 1), "on_chip": on_chip}
    return made_design(CHAIN, Accelerator((CHUNK, CHUNK), links=links), mapping | more)


def jobs(program: Program, chunk: int, op: str, dest: str = "") -> list[Instruction]:
    """The chunk's instructions of an opcode, LOADs of one destination."""
    found = [job for job in program.chunks[chunk].instructions if job.op == op]
    return [job for job in found if not dest or job["dest"] == DESTINATIONS[dest]]


def waits(program: Program, chunk: int) -> list[tuple[str, int, str, int, int]]:
    engines = {code: name for name, code in ENGINES.items()}
    events = {code: name for name, code in EVENTS.items()}
    return [
        (engines[job["engine"]], job["peer"], events[job["event"]], job["ago"], job["index"])
        for job in jobs(program, chunk, "WAIT")
    ]


def test_a_reader_waits_for_the_bands_that_it_reads() -> None:
    """A 3 x 3 kernel needs one row of the next band; the last band's wait is implied by the one before."""
    program = chain().compile()
    assert waits(program, 1) == [("READ0", 0, "COMMITTED", 0, index) for index in (2, 3, 4)]
    assert all(job["wait_commit"] == 0 for job in jobs(program, 1, "LOAD"))
    body = program.chunks[1].instructions
    first = next(at for at, job in enumerate(body) if job.op == "WAIT")
    assert body[first + 1].op == "LOAD"
    assert body[first + 1]["dest"] == DESTINATIONS["INPUT"]


def test_a_writer_waits_for_the_readers_of_the_pass_before() -> None:
    """Band k of `a` is read last by band k + 1 of `b`."""
    program = chain().compile()
    assert waits(program, 0) == [("WRITE", 1, "FETCHED", 1, index) for index in (2, 3, 4)]


def test_a_tensor_as_large_as_its_link_waits_for_the_pass_before_only() -> None:
    program = chain(64).compile()
    assert waits(program, 0) == [("WRITE", 1, "FETCHED", 1, index) for index in (2, 3, 4)]
    assert {job["region"] for job in jobs(program, 0, "STORE")} == {REGIONS["CHIP"]}
    assert {job["readers"] for job in jobs(program, 0, "STORE")} == {0b10}
    assert [(job["region"], job["peer"]) for job in jobs(program, 1, "LOAD", "INPUT")] == [(REGIONS["CHIP"], 0)] * 4
    tensor = program.tensors["a"]
    assert (tensor.region, tensor.writer, tensor.readers) == ("CHIP", 0, (1,))
    assert program.region_words["WORK"] == 0


def test_a_second_frame_follows_in_the_ring() -> None:
    """Frame 1 overwrites frame 0 of the same pass, and frame 0 frame 1 of the pass before."""
    program = chain(64, frames=2, batches=(1, 1)).compile()
    assert program.tensors["a"].frame_addresses == (0, 64)
    expected = [(1, 6), (1, 7), (1, 8), (0, 2), (0, 3), (0, 4)]
    assert waits(program, 0) == [("WRITE", 1, "FETCHED", ago, index) for ago, index in expected]


def test_a_tensor_larger_than_its_link_is_streamed_through_it() -> None:
    layers = [conv("a", "input", (32, 8, 16), 16), conv("b", "a", (32, 8, 16), 16)]
    accelerator = Accelerator((CHUNK, CHUNK), links=(Link(0, 1, 64),))
    mapping = {"layers": (BANDS, BANDS), "chunks": (0, 1), "on_chip": frozenset({"a"})}
    program = made_design(layers, accelerator, mapping).compile()
    in_pass = [index for *_, ago, index in waits(program, 0) if ago == 0]
    # band 4 lies where band 0 lay, which is read last by tile 2 (counted from 1), and so on
    assert in_pass == list(range(2, 14))
    assert max(job["address"] for job in jobs(program, 0, "STORE")) > 64


def test_what_has_no_room_is_named() -> None:
    """A row of `a` and its two neighbours, 24 words each, are more than 64."""
    layers = [conv("a", "input", (8, 24, 16), 16), conv("b", "a", (8, 24, 16), 16)]
    accelerator = Accelerator((CHUNK, CHUNK), links=(Link(0, 1, 64),))
    mapping = {"chunks": (0, 1), "on_chip": frozenset({"a"})}
    design = made_design(layers, accelerator, mapping)
    with pytest.raises(UserError, match="tensor 'a' does not fit in link 0 to 1 of 64 words.*make the link larger"):
        design.compile()


def test_a_tile_that_overwrites_itself_has_no_room() -> None:
    """One STORE of 96 words into 64."""
    layers = [conv("a", "input", (8, 12, 16), 16), conv("b", "a", (8, 12, 16), 16, k=1)]
    tile = LayerMapping(2, 1, 4, 12, 16, 16, 3)
    accelerator = Accelerator((CHUNK, CHUNK), links=(Link(0, 1, 64),))
    reader = LayerMapping(1, 1, 1, 12, 16, 16, 1)
    mapping = {"layers": (tile, reader), "chunks": (0, 1), "on_chip": frozenset({"a"})}
    with pytest.raises(UserError, match="tensor 'a' does not fit in link 0 to 1 of 64 words"):
        made_design(layers, accelerator, mapping).compile()


def test_a_link_to_the_own_chunk_needs_no_wait_for_what_is_read_before() -> None:
    accelerator = Accelerator((CHUNK,), links=(Link(0, 0, 64),))
    design = made_design(CHAIN, accelerator, {"layers": (BANDS, BANDS), "on_chip": frozenset({"a"})})
    program = design.compile()
    assert waits(program, 0) == []
    assert [job["wait_commit"] for job in jobs(program, 0, "LOAD", "INPUT")] == [0, 0, 0, 0, 2, 3, 4, 4]


def test_chunks_that_wait_for_each_other_are_refused() -> None:
    """Chunk 0 wants `b` of frame 0 before it makes `a` of frame 1, chunk 1 makes `b` of both frames at once."""
    layers = [conv("a", "input", (4, 4, 16), 32, k=1)]
    layers += [conv(name, source, (4, 4, 32), 32, k=1) for name, source in ("ba", "cb", "dc")]
    by_weights = LayerMapping(1, 1, 4, 4, 16, 32, 1, "weights")
    first = LayerMapping(1, 1, 4, 4, 16, 16, 1)
    mapping = {"layers": (first, by_weights, by_weights, by_weights), "chunks": (0, 1, 0, 1), "frames": 2}
    accelerator = Accelerator((CHUNK, CHUNK))
    made_design(layers, accelerator, mapping | {"batches": (2, 2, 2, 2)}).compile()
    with pytest.raises(UserError, match="use equal batches or other chunks"):
        made_design(layers, accelerator, mapping | {"batches": (1, 2, 1, 2)}).compile()


@pytest.mark.parametrize("rows", [2, 3])
def test_the_first_tile_of_a_pass_follows_the_last_one(rows: int) -> None:
    """With an odd number of tiles, the last one lies in the slot of the next pass's first."""
    layer = conv("a", "input", (rows, 8, 16), 16)
    mapping = LayerMapping(1, 1, 1, 8, 16, 16, 3)
    program = made_design([layer], Accelerator((CHUNK,)), {"layers": (mapping,)}).compile()
    first = -1 % 4096 if rows % 2 == 0 else 0
    expected = [first, *range(rows - 1)]
    assert [job["wait_free"] for job in jobs(program, 0, "LOAD", "INPUT")] == expected
    assert [job["wait_out"] for job in jobs(program, 0, "TILE")] == expected
    assert [job["wait_free"] for job in jobs(program, 0, "LOAD", "WEIGHT")] == [0]
    end = jobs(program, 0, "END")[0]
    assert [end[name] for name in ("inputs", "weights", "params", "residuals", "outputs")] == [rows, 1, 1, 0, rows]


@pytest.mark.parametrize("seed", range(12))
def test_the_last_jobs_of_a_pass_are_marked(seed: int) -> None:
    program = drawn_design(seed).fitted().compile()
    for chunk in range(len(program.chunks)):
        loads = [*jobs(program, chunk, "LOAD", "INPUT"), *jobs(program, chunk, "LOAD", "RESIDUAL")]
        assert sum(job["pass_last"] for job in loads) == 1
        for op in ("TILE", "STORE"):
            assert [job["pass_last"] for job in jobs(program, chunk, op)][-1] == 1
            assert sum(job["pass_last"] for job in jobs(program, chunk, op)) == 1


def test_weights_are_loaded_once_per_group_of_frames() -> None:
    layer = conv("a", "input", (8, 8, 16), 32)
    for order, loads in (("weights", 2 * 2), ("inputs", 2 * 4 * 4)):
        tile = LayerMapping(2, 1, 1, 8, 16, 16, 3, order)  # type: ignore[arg-type]
        mapping = {"layers": (tile,), "frames": 4, "batches": (2,)}
        program = made_design([layer], Accelerator((CHUNK,)), mapping).compile()
        assert len(jobs(program, 0, "LOAD", "WEIGHT")) == loads
        assert len({job["address"] for job in jobs(program, 0, "LOAD", "WEIGHT")}) == 2


def test_the_order_of_frames() -> None:
    """For each group of a run of equal batches: for each layer: in order "weights" each weight tile for all frames."""
    layers = [conv("a", "input", (2, 8, 16), 32, k=1), conv("b", "a", (2, 8, 32), 16, k=1)]
    tiles = LayerMapping(2, 1, 1, 8, 16, 16, 1, "weights"), LayerMapping(2, 1, 1, 8, 16, 32, 1)
    mapping = {"layers": tiles, "frames": 4, "batches": (2, 2)}
    program = made_design(layers, Accelerator((CHUNK,)), mapping).compile()
    done = [(job.layer, job.frame) for job in jobs(program, 0, "TILE")]
    group = [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 1)]
    assert done == group + [(layer, frame + 2) for layer, frame in group]
    assert [job["layer_last"] for job in jobs(program, 0, "TILE")] == [0] * 9 + [1, 0, 1]
    program = made_design(layers, Accelerator((CHUNK,)), mapping | {"batches": (4, 1)}).compile()
    assert [job.frame for job in jobs(program, 0, "TILE")] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]


def test_tensors_of_a_pass_lie_one_after_the_other() -> None:
    program = chain(frames=3).compile()
    assert program.tensors["input"].frame_addresses == (0, 256, 512)
    assert program.tensors["a"].frame_addresses == (0, 256, 512)
    assert program.region_words["OUTPUT"] == 768


def test_layers_are_listed_as_they_end() -> None:
    """Layer 2 ends before layer 0, whose run has its last group later."""
    layers = [conv("a", "input", (4, 4, 16), 16), conv("b", "a", (4, 4, 16), 16), conv("c", "b", (4, 4, 16), 16)]
    design = made_design(layers, Accelerator((CHUNK, CHUNK)), {"chunks": (0, 1, 0), "frames": 2})
    program = design.compile()
    assert [chunk.layers for chunk in program.chunks] == [(0, 2), (1,)]


@pytest.mark.parametrize("seed", range(6))
def test_compiling_twice_gives_the_same_bytes(seed: int) -> None:
    first, second = (drawn_design(seed).fitted().compile() for _ in range(2))
    assert [chunk.image for chunk in first.chunks] == [chunk.image for chunk in second.chunks]
    assert first.order == second.order


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"chunks": (0, 2)}, r"layer 'b': chunk is 2; the accelerator has 2 chunk\(s\), from 0"),
        ({"chunks": (0, 0)}, "chunk 1 has no layer"),
        ({"chunks": (0, 1, 1)}, "the mapping has 3 chunks, network 'made' 2 layers to be executed"),
        ({"frames": 65}, "the mapping has 65 frames in a pass; it must be 1 to 64"),
        ({"frames": 4, "batches": (4, 3)}, "layer 'b': batch is 3; it must divide the 4 frames of a pass"),
        ({"batches": (1,)}, "the mapping has 1 batches"),
        ({"on_chip": frozenset({"z"})}, "tensor 'z' cannot be on chip: there is no such tensor"),
        ({"on_chip": frozenset({"b"})}, "tensor 'b' cannot be on chip: it is the network's input or output"),
        ({"on_chip": frozenset({"a"})}, "tensor 'a' cannot be on chip: there is no link from chunk 0, which writes"),
    ],
)
def test_mappings_that_are_refused(more: dict[str, object], message: str) -> None:
    design = chain()
    wrong = replace(design, mapping=replace(design.mapping, **more))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        wrong.compile()


def two_parts() -> list[Layer]:
    """A convolution on a concat of two others."""
    parts = [conv("a", "input", (8, 8, 16), 16), conv("b", "input", (8, 8, 16), 16)]
    shapes = Network("parts", tuple(parts)).shapes
    return [*parts, concat_layer("cat", ["a", "b"], shapes), conv("c", "cat", (8, 8, 32), 16)]


def test_concats_are_not_on_chip() -> None:
    layers = two_parts()
    for name in ("a", "cat"):
        with pytest.raises(UserError, match=f"tensor '{name}' cannot be on chip: it is a concat or lies in one"):
            made_design(layers, Accelerator((CHUNK,)), {"on_chip": frozenset({name})}).compile()


def test_parts_of_a_concat_come_from_several_chunks() -> None:
    layers = two_parts()
    mapping = {"layers": (BANDS, BANDS, LayerMapping(2, 1, 1, 8, 16, 32, 3)), "chunks": (0, 1, 0)}
    program = made_design(layers, Accelerator((CHUNK, CHUNK)), mapping).compile()
    reads = jobs(program, 0, "LOAD", "INPUT")[4:]
    assert [job["wait_commit"] for job in reads] == [2, 3, 4, 4]
    assert [wait for wait in waits(program, 0) if wait[0] == "READ0"] == [
        ("READ0", 1, "COMMITTED", 0, index) for index in (2, 3, 4)
    ]
    # chunk 1's part is read by chunk 0's LOADs number 5 to 8
    assert waits(program, 1) == [("WRITE", 0, "FETCHED", 1, index) for index in (6, 7, 8)]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_random_designs_pass_the_check(seed: int) -> None:
    """Any assignment of layers to chunks; the serial order is complete and the independent check is content."""
    program = drawn_design(seed).fitted().compile()
    deadlock.check(program)
    turns = Counter(program.order)
    for index, chunk in enumerate(program.chunks):
        assert turns[index] == 1 + [job.op for job in chunk.instructions].index("END")


@pytest.mark.parametrize("seed", range(8))
def test_random_designs_give_the_reference(seed: int) -> None:
    """Two passes, engines and chunks in random order."""
    rng = np.random.default_rng(seed)
    design = drawn_design(1000 + seed, most_frames=2).fitted()
    program = design.compile()
    frames = [random_input(design.network, rng) for _ in range(2 * program.frames)]
    for x_HWC, tensors in zip(frames, interpret_frames(program, frames, rng), strict=True):
        expected = run(design.network, design.weights, x_HWC)
        for name, got in tensors.items():
            np.testing.assert_array_equal(got, expected[program.tensors[name].source], name)
