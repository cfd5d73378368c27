"""One chunk for a finished network: every method gives one that holds by the exact schedule, or says why none."""

from dataclasses import replace

import numpy as np
import pytest

from dna.accelerator.board import load_board
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights
from dna.search import one_chunk as module
from dna.search.goal import Fastest, LeastHardware
from dna.search.one_chunk import METHODS, frame_cycles, solve_one_chunk
from dna.search.problem import Budget

NETWORK = Network("two", (Layer("a", "conv", "input", 3, 8, 8, 16), Layer("b", "conv", "a", 16, 8, 8, 16)))
WEIGHTS = random_weights(NETWORK, np.random.default_rng(0))
BOARD = replace(load_board("pynq-z2"), dsp=64)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_reaches_the_goal_by_the_schedule(method):
    goal = LeastHardware(20_000)
    solved = solve_one_chunk(NETWORK, BOARD, goal, method, Budget(evaluations=3000, seconds=20), seed=1)
    assert solved.cycles <= goal.cycles(BOARD)
    assert solved.cycles == frame_cycles(NETWORK, BOARD, solved.chunk, solved.mapping)
    assert solved.result.method == method


def test_a_goal_at_the_edge_is_tightened_until_the_schedule_meets_it(monkeypatch):
    smallest = solve_one_chunk(NETWORK, BOARD, LeastHardware(1), "exact", Budget(seconds=60))
    goal = LeastHardware(BOARD.cycles_per_second / (1.5 * smallest.cycles))
    asked = []
    real = METHODS["exact"]

    def spy(space, budget, seed):
        asked.append(space.goal.frames_per_second)
        return real(space, budget, seed)

    monkeypatch.setitem(METHODS, "exact", spy)
    # The schedule is made to find more cycles than the closed form, as it may.
    monkeypatch.setattr(module, "frame_cycles", lambda *a: 2 * frame_cycles(*a))
    solved = solve_one_chunk(NETWORK, BOARD, goal, "exact", Budget(seconds=60))
    assert solved.cycles <= goal.cycles(BOARD)
    assert asked == sorted(set(asked)) and len(asked) > 1


def test_an_impossible_goal_names_what_binds():
    with pytest.raises(UserError, match="no accelerator runs this network on pynq-z2 .*; the closest one misses"):
        solve_one_chunk(NETWORK, BOARD, LeastHardware(1e9), "exact", Budget(seconds=60))


def test_fastest_needs_no_frame_rate():
    solved = solve_one_chunk(NETWORK, BOARD, Fastest(), "random", Budget(evaluations=500))
    assert solved.cycles > 0
