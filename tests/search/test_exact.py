"""The exact search against pricing every design of a small space."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dna.accelerator.board import load_board
from dna.search import counterfactual, exact
from dna.search.accelerator import explain, problem, space_for
from dna.search.goal import Fastest, LeastHardware
from dna.search.problem import Budget
from tests.cost.chains import random_chain

BOARD = load_board("pynq-z2")
LISTS = {
    "oc": (4, 16, 32),
    "ic": (1, 4),
    "px": (1, 2, 7),
    "post_lanes": (2, 4),
    "input_words": (64, 256, 1024),
    "weight_words": (64, 256),
    "param_words": (16, 64),
    "output_words": (64, 256),
}


def small_problem(goal, board=BOARD):
    layers = random_chain(np.random.default_rng(7)).layers[:6]
    return problem(layers, board, goal, space_for(layers, board).limit(**LISTS))


def brute_force(of):
    """(excess, cost) of the best design, each priced on its own."""
    designs = of.space.enumerate(of.space.arrays)
    priced = of.evaluate(designs)
    return min(zip(priced.excess.tolist(), priced.cost.tolist(), strict=True))


@pytest.mark.parametrize("goal", [Fastest(), LeastHardware(100), LeastHardware(400), LeastHardware(1e6)])
def test_exact_equals_brute_force(goal):
    of = small_problem(goal)
    result = exact.search(of, Budget())
    excess, cost = brute_force(of)
    assert result.cost == cost and result.feasible == (excess == 0) and result.lower_bound == cost
    assert float(of.evaluate(result.design[None]).cost) == cost


def test_exact_prices_less_than_everything():
    of = small_problem(LeastHardware(100))
    assert exact.search(of, Budget()).evaluations < of.space.size


def test_array_bounds_are_bounds():
    of = small_problem(LeastHardware(300))
    bounds = of.array_bounds()
    _, priced = of.evaluate_arrays(torch.arange(len(of.space.arrays)))
    best = priced.cost.view(len(of.space.arrays), -1).min(dim=1).values
    excess = priced.excess.view(len(of.space.arrays), -1).min(dim=1).values
    assert bool((bounds.cost <= best).all()) and bool((bounds.excess <= excess + 1e-12).all())


def test_a_spent_budget_leaves_a_true_bound():
    of = small_problem(Fastest())
    optimum = exact.search(of, Budget()).cost
    cut = exact.search(of, Budget(evaluations=1))
    assert cut.lower_bound <= optimum <= cut.cost


def test_an_impossible_rate_names_the_rate():
    goal = LeastHardware(1e6)
    message = explain(exact.search(small_problem(goal), Budget()), goal, BOARD)
    assert "frame rate" in message and "of 1e+06 frames/s" in message and "pynq-z2" in message


def test_a_board_that_is_too_small_names_its_resource():
    board = replace(BOARD, dsp=10)
    message = explain(exact.search(small_problem(Fastest(), board), Budget()), Fastest(), board)
    assert "dsp: 20 of 10" in message  # 16 multipliers, two post lanes of two
    assert "within the board" in message


def test_buffers_that_hold_no_tile_are_named():
    layers = random_chain(np.random.default_rng(7)).layers[:6]
    tiny = {**LISTS, "input_words": (16,), "output_words": (16,), "weight_words": (16,), "param_words": (16,)}
    of = problem(layers, BOARD, Fastest(), space_for(layers, BOARD).limit(**tiny))
    result = exact.search(of, Budget())
    assert result.binding == ("buffers",) and "layers fit no tile" in explain(result, Fastest(), BOARD)


def test_counterfactual_reaches_the_optimum():
    of = small_problem(LeastHardware(400))
    optimum = exact.search(of, Budget()).cost
    for seed in range(3):
        assert counterfactual.search(of, Budget(evaluations=8000), seed).cost == pytest.approx(optimum, rel=1e-12)
