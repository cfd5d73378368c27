"""Accelerators of one or more chunks: every method ends in one that compiles and keeps what was asked for."""

from dataclasses import replace

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.compiler import compile as compile_design
from dna.compile.default_mapping import default_pipeline
from dna.cost.area import buffer_kb
from dna.cost.resources import accelerator_resources
from dna.cost.schedule import schedule
from dna.design import Design
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search import accelerate as module
from dna.search.accelerate import METHODS, accelerate, search_figures
from dna.search.constraints import Constraints
from dna.search.constraints_file import constraints_of
from dna.search.goal import Fastest, Goal, LeastHardware, Limit
from dna.search.one_chunk import solve_one_chunk
from dna.search.problem import Budget
from dna.search.refine import blank_weights

NETWORK = Network(
    "four",
    (
        Layer("a", "conv", "input", 3, 8, 8, 16, (3, 3), padding=(1, 1, 1, 1)),
        Layer("b", "conv", "a", 16, 8, 8, 32),
        Layer("c", "depthwise", "b", 32, 8, 8, 32, (3, 3), padding=(1, 1, 1, 1)),
        Layer("d", "conv", "c", 32, 8, 8, 16),
    ),
)
BOARD = replace(load_board("zc706"), dsp=64)
SHORT = Budget(evaluations=600, seconds=6)


def solved_for(content, method="counterfactual", goal=None, board=BOARD):
    return accelerate(NETWORK, board, goal or Fastest(), method, SHORT, 1, constraints_of(content))


def check_solved(solved, board=BOARD):
    """It is a Design, and its cycles are those of the exact schedule."""
    design = Design(NETWORK, blank_weights(NETWORK), solved.accelerator, solved.mapping, board, {}, solved.shares)
    program = compile_design(NETWORK, design.weights, solved.accelerator, solved.mapping)
    assert schedule(program, design.memories, 3).interval / solved.mapping.frames == solved.cycles
    for name, count in accelerator_resources(solved.accelerator).items():
        assert count <= getattr(board, name)
    return design


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_in_a_design_with_the_cycles_of_the_schedule(method):
    solved = accelerate(NETWORK, BOARD, Fastest(), method, SHORT, 1)
    check_solved(solved)
    assert solved.cost == solved.cycles <= solved.latency
    figures = search_figures(solved, BOARD)
    assert figures["cycles"] == solved.cycles and figures["frames_per_second"] == round(2e8 / solved.cycles, 2)
    assert all(early[1] >= late[1] for early, late in zip(figures["trace"], figures["trace"][1:], strict=False))
    if figures["lower_bound"] is not None:
        assert figures["distance"] == round(solved.cycles / figures["lower_bound"] - 1, 4)


def test_the_number_of_chunks_and_their_parameters_are_kept():
    solved = solved_for({"chunks": 2, "every": {"post_lanes": 4}, "each": {1: {"oc": 16, "ic": 1, "px": 2}}})
    check_solved(solved)
    first, second = solved.accelerator.chunks
    assert (second.oc, second.ic, second.px) == (16, 1, 2) and first.post_lanes == second.post_lanes == 4


def test_layers_tensors_and_batches_are_kept():
    solved = solved_for({"chunks": 2, "layers": {"c": 1, "[abd]": 0}, "on_chip": ["b"], "frames": 2, "batch": 1})
    check_solved(solved)
    assert solved.mapping.chunks == (0, 0, 1, 0) and "b" in solved.mapping.on_chip
    assert solved.mapping.frames == 2 and set(solved.mapping.batches) == {1}


def test_a_design_is_improved_in_what_is_not_given(monkeypatch):
    given = {"chunks": 2, "layers": {"[ab]": 0, "[cd]": 1}, "each": {0: {"oc": 16, "ic": 1, "px": 2}}}
    better = solved_for(given)
    check_solved(better)
    assert (better.accelerator.chunks[0].px, better.mapping.chunks) == (2, (0, 0, 1, 1))
    monkeypatch.setattr(Constraints, "fixed", True)
    proposed = solved_for(given)
    assert proposed.found.cost == better.found.cost and better.cycles < proposed.cycles


def saved(tmp_path):
    narrow = {"ports": 1, "port_bytes": 8, "residual": False}
    accelerator = Accelerator((Chunk(oc=16, ic=1, px=2, **narrow), Chunk(oc=16, ic=1, px=1, **narrow)))
    mapping = default_pipeline(NETWORK, accelerator)
    Design(NETWORK, blank_weights(NETWORK), accelerator, mapping, BOARD).save(tmp_path)
    return accelerator, mapping


def test_a_kept_accelerator_is_the_accelerator(tmp_path):
    accelerator, _ = saved(tmp_path)
    solved = solved_for({"keep_accelerator": str(tmp_path)})
    check_solved(solved)
    assert solved.accelerator == accelerator


def test_a_kept_mapping_is_the_mapping(tmp_path):
    _, mapping = saved(tmp_path)
    solved = solved_for({"keep_mapping": str(tmp_path), "every": {"px": [2, 4], "input_words": 512}})
    check_solved(solved)
    assert solved.mapping == mapping


def test_limits_bind():
    free = solved_for({})
    less = solved_for({"limits": {"dsp": 16}, "board_share": 0.5})
    assert accelerator_resources(less.accelerator)["dsp"] <= 16 and less.cycles >= free.cycles
    narrow = solved_for({"limits": {"bandwidth": "1GB/s", "buffer": "40kB"}}, "exact")
    check_solved(narrow)
    widths = [chunk.port_bytes for chunk in narrow.accelerator.chunks for _ in range(chunk.ports)]
    assert sum(width / share for width, share in zip(widths, narrow.shares, strict=True)) <= 5
    memory = sum(float(buffer_kb(chunk.integers)) for chunk in narrow.accelerator.chunks)
    assert memory + sum(link.words * 16 for link in narrow.accelerator.links) / 1024 <= 40


def test_least_hardware_is_no_more_than_that_of_the_best_single_chunk():
    goal = LeastHardware(20_000)
    least = solved_for({}, "exact", goal)
    check_solved(least)
    single = solve_one_chunk(NETWORK, BOARD, goal, "exact", Budget(seconds=60))
    assert least.cost <= single.result.cost and least.cycles <= goal.cycles(BOARD)
    two = solved_for({"chunks": 2}, "exact", goal)
    check_solved(two)
    assert len(two.accelerator.chunks) == 2 and "does not cover the goal" in two.notices[0]
    assert two.cycles <= goal.cycles(BOARD)


def test_a_latency_asked_for_is_served_by_one_proven_chunk():
    goal = Goal("latency")
    one = solved_for({}, "exact", goal)
    check_solved(one)
    assert one.found.proven and len(one.accelerator.chunks) == 1 and one.cost == one.found.cost


def test_an_infeasible_request_names_limit_and_constraint(monkeypatch):
    monkeypatch.setattr(module, "RELAXED_SECONDS", 2.0)
    with pytest.raises(UserError) as refused:
        solved_for({"every": {"oc": 64, "ic": 16, "packed": False, "mac_in_lut": False}}, "exact")
    assert "the closest one misses dsp: " in str(refused.value) and " of 64" in str(refused.value)
    assert "without 'every' there is one" in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(UserError, match="frame rate: .* of 1e\\+09 frames/s"):
        accelerate(NETWORK, BOARD, Fastest(limits=(Limit("fps", 1e9),)), "random", SHORT)


def test_without_several_chunks_nothing_is_new():
    assert accelerate(NETWORK, BOARD, Fastest(), "random", SHORT, 3, Constraints(chunks=(1,))).mapping.chunks in (
        (),
        (0, 0, 0, 0),
    )
