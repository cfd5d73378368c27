"""The exact search over runs of layers against pricing every design of small spaces."""

from dataclasses import replace

import pytest
import torch

from dna.accelerator.board import load_board
from dna.compile.lowering import lower
from dna.errors import UserError
from dna.network.zoo import build
from dna.search import exact_runs
from dna.search.goal import Fastest, LeastHardware, parse_goal
from dna.search.pipeline import pipeline_problem
from dna.search.pipeline_space import pipeline_space
from dna.search.problem import Budget
from dna.search.space import default_space

BOARD = load_board("zc706")
RESIDUAL = lower(build("mobilenet_v2").network).layers[4:9]


def chunk_space(residual=True, **lists):
    fixed = {"packed": 1, "post_in_lut": 1, "post_lanes": 8, "param_words": 256, "ports": 1, "port_bytes": 16}
    space = default_space(multipliers=1800, residual=residual, fixed={**fixed, "burst_beats": 64})
    narrow = {"oc": (16, 32), "ic": (2,), "px": (7, 14), "input_words": (64, 1024), "weight_words": (1024,)}
    return space.limit(**{**narrow, "output_words": (1024,), **lists})


def a_problem(goal, board=BOARD, **given):
    space = pipeline_space(RESIDUAL, chunk_space(), (1, 2, 3), **{"shares": (1, 3), **given})
    return pipeline_problem(space, board, goal)


def brute_force(of):
    """Least cost of a feasible design, None without one."""
    best = None
    for designs in of.space.enumerate(1 << 15):
        priced = of.evaluate(designs)
        if bool(priced.feasible.any()):
            cost = float(priced.cost[priced.feasible].min())
            best = cost if best is None else min(best, cost)
    return best


def agrees(of):
    result, optimum = exact_runs.search(of, Budget()), brute_force(of)
    assert optimum is not None and result.feasible
    assert result.cost == pytest.approx(optimum, rel=1e-12) and result.lower_bound == result.cost
    assert float(of.evaluate(result.design[None]).cost) == result.cost
    return result


@pytest.mark.parametrize(
    "goal", [Fastest(), LeastHardware(100), LeastHardware(300), parse_goal("fastest", ["lut=60000"])]
)
def test_exact_equals_brute_force(goal):
    assert any(layer.residual is not None for layer in RESIDUAL), "buffers for residuals must matter"
    agrees(a_problem(goal))


def test_a_board_that_binds():
    wide, narrow = (exact_runs.search(a_problem(Fastest(), board), Budget()) for board in (BOARD, tight()))
    assert agrees(a_problem(Fastest(), tight())).cost == narrow.cost > wide.cost


def tight():
    return replace(BOARD, dsp=330, bram36=60)


def test_frames_and_batches():
    of = a_problem(Fastest(), shares=(2,), frames=(1, 2), batches=(1, 2))
    point = of.space.point(agrees(of).design)
    assert point.frames == 2 and 2 in point.batches


def test_chunks_that_some_layers_may_not_use():
    space = pipeline_space(RESIDUAL, chunk_space(), (2, 3), shares=(1, 3))
    homes = ((0,), (0,), (0, 1), (1, 2), (1, 2))
    agrees(pipeline_problem(replace(space, homes=homes), BOARD, Fastest()))


def test_buffers_in_which_some_layers_find_no_room():
    of = a_problem(Fastest())
    tiny = chunk_space(input_words=(16, 1024), output_words=(16, 1024))
    agrees(pipeline_problem(replace(of.space, spaces=(tiny, chunk_space(), chunk_space())), BOARD, Fastest()))


def test_what_nothing_meets_is_not_feasible():
    result = exact_runs.search(a_problem(LeastHardware(1e6)), Budget())
    assert not result.feasible and result.binding


def test_what_is_not_covered_is_refused_by_name():
    free = pipeline_problem(
        pipeline_space(RESIDUAL, chunk_space(), (2,), shares=(1,), assignment="free"), BOARD, Fastest()
    )
    with pytest.raises(UserError, match="runs of layers"):
        exact_runs.search(free, Budget())
    with pytest.raises(UserError, match="latency"):
        exact_runs.search(a_problem(parse_goal("latency")), Budget())
    large = chunk_space(px=tuple(range(1, 65)), input_words=tuple(range(64, 2048, 16)))
    with pytest.raises(UserError, match="choices"):
        exact_runs.search(pipeline_problem(pipeline_space(RESIDUAL, large, (1,)), BOARD, Fastest()), Budget())


def test_a_spent_budget_leaves_a_true_bound():
    of = a_problem(Fastest())
    optimum = exact_runs.search(of, Budget()).cost
    cut = exact_runs.search(of, Budget(seconds=0.0))
    assert cut.feasible and cut.lower_bound is not None and cut.lower_bound <= optimum <= cut.cost
    assert torch.equal(cut.design, exact_runs.search(of, Budget(seconds=0.0)).design)
