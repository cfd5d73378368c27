"""The finish: never worse than the best point, exact, deterministic, within its budget and the board."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from dna.accelerator.board import load_board
from dna.compile.compiler import compile
from dna.compile.lowering import lower
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.finish import CLOSE, LENGTHY, _Finish, finish
from dna.search.goal import Fastest, Goal, Limit
from dna.search.moves import PHASES, Situation, rebalanced
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.realise import realise, settled
from dna.search.refine import blank_weights
from dna.search.shares import balanced_shares, bandwidth, demands, port_widths
from tests.search.test_realise import BOARD, MIXING, NETWORK, ON_CHIP
from tests.search.test_realise import POINT as WIDE

POINT = replace(WIDE, shares=(4, 32, 5))
SHORT = Budget(evaluations=24)
ONE = Point((replace(MIXING, ports=1),), (1,), (0,) * 5)


def test_the_best_point_is_improved_and_figures_are_those_of_the_program() -> None:
    points = [POINT, replace(POINT, shares=(8, 16, 8)), ONE]
    each = [settled(NETWORK, realise(NETWORK, point, BOARD), BOARD).cycles for point in points]
    heard: list[float] = []
    found = finish(NETWORK, points, BOARD, Fastest(), SHORT, heard.append)
    assert found.settled.cycles < min(each)
    assert found.feasible and found.cost == found.settled.cycles
    assert found.evaluations <= SHORT.evaluations and not found.failed
    program = compile(NETWORK, blank_weights(NETWORK), found.realised.accelerator, found.realised.mapping)
    assert schedule(program, found.realised.memories(BOARD), 3).interval == found.settled.interval
    assert bandwidth(found.realised.shares, port_widths(found.realised.accelerator)) <= BOARD.carried
    assert heard == sorted(heard) and heard[-1] == 1
    costs = [cost for _, _, cost in found.trace]
    assert costs == sorted(costs, reverse=True) and len(costs) > 1
    again = finish(NETWORK, points, BOARD, Fastest(), SHORT)
    assert (again.realised, again.trace) == (found.realised, found.trace)


def test_nothing_is_changed_that_is_not_to_be() -> None:
    def check(point: Point) -> None:
        if point.chunks != POINT.chunks or point.on_chip != POINT.on_chip:
            raise UserError("no")

    before = settled(NETWORK, realise(NETWORK, POINT, BOARD), BOARD).cycles
    found = finish(NETWORK, [ONE, POINT], BOARD, Fastest(), SHORT, check=check)
    assert found.point.chunks == POINT.chunks and found.realised.mapping.on_chip == POINT.on_chip
    assert found.settled.cycles < before and found.failed == ("no",)
    with pytest.raises(UserError, match="^no$"):
        finish(NETWORK, [ONE], BOARD, check=check)


def test_a_point_that_cannot_be_realised_is_left_out_with_its_reason() -> None:
    tiny = replace(POINT, chunks=(MIXING, MIXING, replace(MIXING, weight_words=16)), on_chip=frozenset())
    found = finish(NETWORK, [tiny, ONE], BOARD, Fastest(), Budget(evaluations=2))
    assert len(found.point.chunks) == 1
    assert found.failed == ("layer 'last': fits no tile on chunk 2",)
    with pytest.raises(UserError, match="layer 'last': fits no tile"):
        finish(NETWORK, [tiny], BOARD)
    with pytest.raises(UserError, match="no points"):
        finish(NETWORK, [], BOARD)


def test_limits_come_first_and_then_the_goal() -> None:
    fast = finish(NETWORK, [POINT, ONE], BOARD, Fastest(), Budget(evaluations=12))
    assert len(fast.point.chunks) == 3
    few = Goal("interval", (Limit("dsp", MIXING.multipliers),))
    least = finish(NETWORK, [POINT, ONE], BOARD, few, Budget(evaluations=12))
    assert least.feasible and len(least.point.chunks) == 1
    none = finish(NETWORK, [POINT], BOARD, few, Budget(evaluations=1))
    assert not none.feasible
    latency = finish(NETWORK, [POINT], BOARD, Goal("latency"), Budget(evaluations=1))
    assert latency.settled.latency == latency.cost > latency.settled.cycles


def test_every_change_keeps_within_the_board_or_says_why_not() -> None:
    found = realise(NETWORK, POINT, BOARD)
    program = compile(NETWORK, blank_weights(NETWORK), found.accelerator, found.mapping)
    situation = Situation(NETWORK, BOARD, POINT, found, schedule(program, found.memories(BOARD), 3))
    names = []
    for phase in PHASES:
        for change in phase(situation):
            names.append(change.name)
            made = change.make()
            assert bandwidth(made.shares, port_widths(made.accelerator)) <= BOARD.carried
            assert settled(NETWORK, made, BOARD).excess(BOARD) == {}
    assert len(names) == len(set(names)) > 10
    for kind in ("shares balanced", "port", "link", "layer", "chunk", "frames per pass"):
        assert any(kind in name for name in names), kind


def test_groups_that_alternate_let_a_chunk_write_while_another_reads() -> None:
    """The first layer goes through all frames for each tile of weights: what is read of one group holds it up."""
    layers = Layer("one", "fc", "input", 512, 1, 1, 1024, (1, 1)), Layer("two", "fc", "one", 1024, 1, 1, 512, (1, 1))
    network = Network("two", layers)
    chunk = replace(MIXING, residual=False, weight_words=256, input_words=64)
    point = Point((chunk, chunk), (2, 2), (0, 1), frames=2)
    found = rebalanced(network, point, BOARD)
    program = compile(network, blank_weights(network), found.accelerator, found.mapping)
    situation = Situation(network, BOARD, point, found, schedule(program, found.memories(BOARD), 3))
    change, halves = situation.alternates()
    assert (halves.point.frames, set(halves.point.batches)) == (2, {1})
    assert (change.point.frames, set(change.point.batches)) == (4, {2})
    before, now = (settled(network, realised, BOARD).cycles for realised in (found, change.make()))
    assert now < 0.65 * before
    (halves,) = replace(situation, point=replace(point, frames=16)).alternates()
    assert (halves.point.frames, halves.point.batches) == (16, (8, 8))
    assert not list(replace(situation, point=halves.point).alternates())
    (more,) = replace(situation, point=replace(point, frames=1)).alternates()
    assert more.point.frames == 2
    assert not list(replace(situation, point=ONE).alternates())


def test_no_change_begins_that_would_end_too_late() -> None:
    state = _Finish(NETWORK, BOARD, Fastest(), Budget(seconds=100), None)
    (made,) = state._scheduled([POINT], 0)
    assert made.instructions > 50 and 0 < state.pace * made.instructions < 50
    assert not state._late(Situation.fills, made)
    state.pace = 101 / made.instructions
    assert state._late(Situation.fills, made) and not state._late(Situation.exchanges, made)
    assert not state._late(Situation.fills, replace(made, instructions=made.instructions // 2))
    state.programs.clear()
    assert state._late(Situation.exchanges, made), "shares of a program that is made anew"


def test_lengthy_points_are_changed_only_where_there_is_no_other() -> None:
    state = _Finish(NETWORK, BOARD, Fastest(), Budget(seconds=100), None)
    (made,) = state._scheduled([POINT], 0)
    long = replace(made, instructions=LENGTHY * made.instructions)
    slow = replace(made, key=(0.0, CLOSE * made.key[1], 0.0))
    assert state._hopeful([long, made, slow]) == [made]
    assert state._hopeful([made]) == [made] and state._hopeful([long]) == [long]


def test_each_point_is_improved_once() -> None:
    points = [POINT, replace(POINT, shares=(8, 16, 8)), ONE]
    state = _Finish(NETWORK, BOARD, Fastest(), Budget(seconds=100), None)
    alone = [made.key for made in _Finish(NETWORK, BOARD, Fastest(), Budget(seconds=100), None)._scheduled(points, 0)]
    found = state._first(points)
    assert len(found) == len(alone) and len({id(candidate) for candidate in found}) == len(found)
    assert [candidate.key for candidate in found] == sorted(candidate.key for candidate in found)
    assert all(better.key <= key for better, key in zip(found, sorted(alone), strict=True))


def test_a_point_with_many_times_the_tiles_of_another_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    state = _Finish(NETWORK, BOARD, Fastest(), Budget(seconds=100), None)
    assert len(state._scheduled([POINT], 0)) == 1
    few = state.fewest_tiles
    assert state._scheduled([replace(POINT, frames=POINT.frames * LENGTHY)], 0) == []
    assert state.failed == [f"a pass has {few * LENGTHY:.0f} tiles; another point has {few:.0f}"]
    assert len(state._scheduled([replace(POINT, frames=POINT.frames * (LENGTHY - 1))], 0)) == 1


def test_programs_are_remembered_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    state = _Finish(NETWORK, BOARD, Fastest(), Budget(seconds=100), None)
    found = state._scheduled([ONE, replace(ONE, frames=2), replace(ONE, frames=3)], 0)
    assert len(state.programs) == 3
    first, _, last = found
    monkeypatch.setattr("dna.search.finish.REMEMBERED", 1)
    state._program(first.realised)
    assert len(state.programs) == 3, "nothing new: nothing is forgotten"
    state._scheduled([replace(ONE, shares=(2,), frames=3, chunks=(replace(ONE.chunks[0], input_words=512),))], 0)
    assert (first.realised.accelerator, first.realised.mapping) in state.programs
    assert (last.realised.accelerator, last.realised.mapping) not in state.programs and len(state.programs) == 2


def test_fills_use_block_ram_that_is_left_many_buffers_at_once() -> None:
    found = rebalanced(NETWORK, POINT, BOARD)
    program = compile(NETWORK, blank_weights(NETWORK), found.accelerator, found.mapping)
    situation = Situation(NETWORK, BOARD, POINT, found, schedule(program, found.memories(BOARD), 3))
    fills = list(Situation.fills(situation))
    assert [change.name.split(": ")[1] for change in fills][0] == "all"
    assert len({change.point.chunks for change in fills}) == len(fills) > 2
    for change in fills:
        deeper = [
            getattr(new, name) / getattr(old, name)
            for new, old in zip(change.point.chunks, POINT.chunks, strict=True)
            for name in ("input_words", "weight_words", "output_words")
        ]
        assert set(deeper) <= {1, 2} and deeper.count(2) > 1
    full = replace(BOARD, bram36=settled(NETWORK, found, BOARD).used["bram36"])
    for change in Situation.fills(replace(situation, board=full)):  # half-empty blocks may fill
        assert settled(NETWORK, change.make(), full).used["bram36"] <= full.bram36


def test_balanced_shares_are_the_best_of_all_by_the_closed_form() -> None:
    """Two chunks of one port: all pairs of intervals are tried."""
    chunk = replace(MIXING, ports=1)
    point = Point((chunk, chunk), (2, 2), (0, 0, 0, 0, 1))
    found = rebalanced(NETWORK, point, BOARD)
    wanted = demands(lower(NETWORK).layers, point.chunks, found.mapping, BOARD)
    tables = [{demand.intervals(a, b)[0]: cycles for a, b, _, cycles in demand.choices} for demand in wanted]
    pairs = [
        max(tables[0][a], tables[1][b])
        for a in tables[0]
        for b in tables[1]
        if Fraction(16, a) + Fraction(16, b) <= BOARD.carried
    ]
    assert max(tables[0][found.shares[0]], tables[1][found.shares[1]]) == min(pairs)
    assert balanced_shares(wanted, Fraction(1, 100)) is None


def test_a_full_board_lets_nothing_grow_that_takes_a_block() -> None:
    found = realise(NETWORK, POINT, BOARD)
    full = replace(load_board("zc706"), bram36=settled(NETWORK, found, BOARD).used["bram36"])
    program = compile(NETWORK, blank_weights(NETWORK), found.accelerator, found.mapping)
    situation = Situation(NETWORK, full, POINT, found, schedule(program, found.memories(full), 3))
    for change in (*Situation.links(situation), *Situation.buffers(situation)):  # half-empty blocks may fill
        assert settled(NETWORK, change.make(), full).used["bram36"] <= full.bram36
    assert found.mapping.on_chip == ON_CHIP
