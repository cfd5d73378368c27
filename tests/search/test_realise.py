"""From a point to what compiles: links sized, tensors back in memory where there is no room, exact figures."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Chunk
from dna.compile.compiler import compile
from dna.compile.lowering import lower
from dna.compile.plan import Plan
from dna.cost.resources import accelerator_resources
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.links import link_needs, port_words
from dna.search.point import Point
from dna.search.realise import Realised, realise, settled
from dna.search.refine import blank_weights
from dna.search.shares import bandwidth, port_widths

BOARD = load_board("zc706")
MIXING = Chunk(oc=16, ic=4, px=2, input_words=256, weight_words=128, param_words=64, output_words=256, packed=True)
DEPTHWISE = replace(MIXING, ic=1, residual=False)
SAME = (1, 1, 1, 1)
NETWORK = Network(
    "block",
    (
        Layer("stem", "conv", "input", 12, 16, 16, 16, (1, 1)),
        Layer("expand", "conv", "stem", 16, 16, 16, 48, (1, 1)),
        Layer("depthwise", "depthwise", "expand", 48, 16, 16, 48, (3, 3), padding=SAME),
        Layer("project", "conv", "depthwise", 48, 16, 16, 16, (1, 1), residual="stem"),
        Layer("last", "conv", "project", 16, 16, 16, 32, (3, 3), padding=SAME),
    ),
)
ON_CHIP = frozenset({"stem", "expand", "depthwise", "project"})
POINT = Point((MIXING, DEPTHWISE, MIXING), (4, 16, 4), (0, 0, 1, 0, 2), frames=2, batches=(1,) * 5, on_chip=ON_CHIP)


def test_everything_that_a_point_leaves_open_is_found_and_compiles() -> None:
    found = realise(NETWORK, POINT, BOARD)
    assert found == realise(NETWORK, POINT, BOARD)
    assert found.mapping.on_chip == ON_CHIP
    assert {(link.writer, link.reader) for link in found.accelerator.links} == {(0, 0), (0, 1), (1, 0), (0, 2)}
    program = compile(NETWORK, blank_weights(NETWORK), found.accelerator, found.mapping)
    times = schedule(program, found.memories(BOARD), 3)
    measured = settled(NETWORK, found, BOARD, latency=True)
    assert (measured.interval, measured.frames) == (times.interval, 2)
    assert measured.used == accelerator_resources(found.accelerator)
    assert measured.latency is not None and measured.latency > measured.cycles
    assert not measured.excess(BOARD)
    assert measured.excess(replace(BOARD, dsp=measured.used["dsp"] - 1)) == {
        "dsp": measured.used["dsp"] / (measured.used["dsp"] - 1)
    }


def test_ports_stay_within_the_share_of_their_chunk() -> None:
    found = realise(NETWORK, POINT, BOARD)
    widths = port_widths(found.accelerator)
    for chunk, share in enumerate(POINT.shares):
        first = found.accelerator.first_port(chunk)
        mine = slice(first, first + POINT.chunks[chunk].ports)
        assert bandwidth(found.shares[mine], widths[mine]) <= Fraction(32, share)


def test_tensors_without_room_on_chip_go_back_to_memory() -> None:
    chunks = accelerator_resources(replace(realise(NETWORK, POINT, BOARD).accelerator, links=()))["bram36"]
    small = replace(BOARD, bram36=chunks + 5)
    found = realise(NETWORK, POINT, small)
    assert frozenset() < found.mapping.on_chip < ON_CHIP
    assert not settled(NETWORK, found, small).excess(small)
    dropped = len(ON_CHIP) - len(found.mapping.on_chip)
    assert realise(NETWORK, POINT, small, most_dropped=dropped) == found
    with pytest.raises(UserError, match=f"room for fewer than {len(ON_CHIP) - dropped + 1} tensors"):
        realise(NETWORK, POINT, small, most_dropped=dropped - 1)
    none = realise(NETWORK, POINT, replace(BOARD, bram36=chunks))
    assert not none.mapping.on_chip and not none.accelerator.links
    with pytest.raises(UserError, match="bram36: the chunks need 1 more"):
        realise(NETWORK, POINT, replace(BOARD, bram36=chunks - 1))


def test_what_a_bank_needs_is_enough_and_less_is_not() -> None:
    """One chunk, one tensor after the other: the estimate is exact there, up to powers of two."""
    point = Point((MIXING,), (2,), (0,) * 5, on_chip=ON_CHIP)
    found = realise(NETWORK, point, BOARD)
    plan = Plan(lower(NETWORK), found.accelerator, found.mapping)
    (words,) = link_needs(plan, ON_CHIP).values()
    (link,) = found.accelerator.links
    assert words <= link.words < 2 * words
    small = replace(found.accelerator, links=(replace(link, words=link.words // 2),))
    with pytest.raises(UserError, match="does not fit in link 0 to 0"):
        plan.on(small).check_ends(ON_CHIP)


def test_words_of_ports_are_those_of_the_program() -> None:
    point = replace(POINT, on_chip=frozenset({"expand"}))
    found = realise(NETWORK, point, BOARD)
    words = port_words(Plan(lower(NETWORK), found.accelerator, found.mapping), found.mapping.on_chip)
    program = compile(NETWORK, blank_weights(NETWORK), found.accelerator, found.mapping)
    port = 0
    for chunk in program.chunks:
        jobs = chunk.instructions[: 1 + [job.op for job in chunk.instructions].index("END")]
        for own in range(chunk.chunk.ports):
            loads = [job for job in jobs if job.op == "LOAD" and job["port"] == own and job["region"] != 4]
            stores = [job for job in jobs if job.op == "STORE" and job["region"] != 4 and own == 0]
            reads = sum(job["run"] * job["n_inner"] * job["n_outer"] for job in loads)
            assert words[port].writes == sum(job["run"] * job["n_inner"] * job["n_outer"] for job in stores)
            assert reads <= words[port].reads <= reads + 5 * 128  # pages are estimated
            port += 1


def test_a_layer_that_fits_nowhere_and_a_wrong_point_are_named() -> None:
    tiny = replace(MIXING, weight_words=16)
    with pytest.raises(UserError, match="layer 'last': fits no tile on chunk 2"):
        realise(NETWORK, replace(POINT, chunks=(MIXING, DEPTHWISE, tiny), on_chip=frozenset()), BOARD)
    with pytest.raises(UserError, match="assignment: 4 entries for 5 layers"):
        realise(NETWORK, replace(POINT, assignment=(0, 0, 1, 0), batches=()), BOARD)
    with pytest.raises(UserError, match="has no layer 'nothing'"):
        realise(NETWORK, replace(POINT, on_chip=frozenset({"nothing"})), BOARD)
    with pytest.raises(UserError, match="chunk 2 has no layer"):
        realise(NETWORK, replace(POINT, assignment=(0, 0, 1, 0, 0)), BOARD)


def test_a_realised_point_knows_the_memory_of_each_port() -> None:
    found = realise(NETWORK, POINT, BOARD)
    memories = Realised(found.accelerator, found.mapping, (1, 2, 3, 4, 5, 6)).memories(BOARD)
    assert isinstance(memories, tuple)
    assert [memory.beat_interval for memory in memories] == [1, 2, 3, 4, 5, 6]
    assert {memory.read_latency for memory in memories} == {BOARD.memory.read_latency}
