"""Pareto sets: against pricing every design of small spaces, within limits, by the exact schedule."""

import math

import pytest
import torch

from dna.accelerator.board import load_board
from dna.compile.lowering import lower
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.constraints import Constraints
from dna.search.figures import FIGURES
from dna.search.front import front_goal, front_names, logarithms, search
from dna.search.front_exact import pareto_set, spread
from dna.search.front_seeds import Pinned
from dna.search.goal import Fastest, parse_goal
from dna.search.outline import outline
from dna.search.pareto import hypervolume, mask, objectives
from dna.search.pipeline import pipeline_problem
from dna.search.pipeline_space import pipeline_space
from dna.search.problem import Budget
from dna.search.space import default_space

BOARD = load_board("zc706")
CHIP = load_board("asic-45nm")
NETWORK = Network(
    "tiny",
    (
        Layer("first", "conv", "input", 16, 8, 8, 32, (3, 3), padding=(1, 1, 1, 1)),
        Layer("second", "conv", "first", 32, 8, 8, 32, (3, 3), padding=(1, 1, 1, 1)),
        Layer("third", "conv", "second", 32, 8, 8, 16, (1, 1)),
    ),
)
FIXED = {"packed": 0, "post_in_lut": 1, "post_lanes": 8, "param_words": 256, "ports": 1, "port_bytes": 16}


def a_problem(names, board=BOARD, goal=None, shares=(1, 3)):
    chunk = default_space(multipliers=900, residual=False, fixed={**FIXED, "burst_beats": 64}).limit(
        oc=(16, 32), ic=(2, 4), px=(1, 4, 8), input_words=(256,), weight_words=(64, 1024), output_words=(256,)
    )
    space = pipeline_space(lower(NETWORK).layers, chunk, (1, 2), shares=shares)
    return pipeline_problem(space, board, front_goal(names, goal or Fastest()))


def enumerated(of, names):
    """The Pareto set of all feasible designs, by brute force."""
    values = []
    for designs in of.space.enumerate(1 << 14):
        costs = of.costs(designs)
        kept = of.goal.evaluate(costs, of.board).feasible
        values.append(objectives(names, costs, of.board)[kept])
    every = torch.cat(values)
    return {tuple(row) for row in every[mask(every)].tolist()}


def found_set(found):
    return {tuple(row) for row in found.archive.values.tolist()}


@pytest.mark.parametrize(
    ("text", "board", "goal"),
    [
        ("fps,dsp", BOARD, "fastest"),
        ("latency,lut,bram36", BOARD, "fastest"),
        ("fps,energy,area", CHIP, "fastest"),
        ("area,edp", CHIP, "fastest"),
    ],
)
def test_a_budget_for_every_design_gives_the_enumerated_set(text, board, goal):
    names = front_names(text, board)
    of = a_problem(names, board, parse_goal(goal), shares=(1,))
    found = search(of, names, Budget())
    assert found.complete and found.method == "exact" and found.evaluations == of.space.size
    assert found_set(found) == enumerated(of, names) and len(found_set(found)) > 1


def test_evolution_finds_the_enumerated_set_with_less_than_every_design():
    names = ("fps", "dsp")
    of = a_problem(names)
    assert of.space.size > 4000
    found = search(of, names, Budget(evaluations=3000), 1, "evolutionary")
    assert found.evaluations <= 3000 and not found.complete
    assert found_set(found) == enumerated(of, names)


@pytest.mark.parametrize("method", ["counterfactual", "evolutionary", "random"])
def test_methods_keep_the_limits_and_give_the_same_again(method):
    names, goal = ("fps", "bram36"), parse_goal("fastest", ["dsp=300", "fps=2000"])
    of = a_problem(names, goal=goal)
    one, two = (search(of, names, Budget(evaluations=700), 3, method) for _ in range(2))
    assert one.evaluations == two.evaluations <= 700
    assert torch.equal(one.archive.values, two.archive.values) and torch.equal(one.archive.designs, two.archive.designs)
    costs = of.costs(one.archive.designs)
    assert len(one.archive.designs) and int(costs.resources.dsp.max()) <= 300
    assert float(FIGURES["fps"].of(costs, BOARD).min()) >= 2000


def test_more_of_the_set_than_random_designs():
    names = ("fps", "hardware")
    of = a_problem(names)
    sets = [search(of, names, Budget(evaluations=600), 0, method).archive for method in ("evolutionary", "random")]
    logs = [logarithms(names, archive.values) for archive in sets]
    corner = torch.cat(logs).amax(dim=0) + 0.1
    evolved, drawn = (hypervolume(rows - corner, (0.0, 0.0)) for rows in logs)
    assert evolved > drawn


def test_spread_takes_the_ends_first_and_then_the_middle():
    points = torch.tensor([[0.0, 1.0], [0.1, 0.9], [0.5, 0.5], [0.9, 0.1], [1.0, 0.0]])
    assert set(spread(points, 2)) == {0, 4} and spread(points, 3)[2] == 2
    assert sorted(spread(points, 9)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("text", "board"), [("fps,dsp", BOARD), ("latency,area", CHIP)])
def test_the_set_by_the_exact_schedule(text, board):
    given = Constraints(chunks=(1, 2), every={"oc": (16,), "ic": (2, 4), "px": (2, 8)})
    one, two = (pareto_set(NETWORK, board, text, Fastest(), "exact", Budget(400), 2, given) for _ in range(2))
    assert [point.realised for point in one.points] == [point.realised for point in two.points]
    signs = [-1 if FIGURES[name].highest else 1 for name in one.names]
    rows = torch.tensor([[s * p.figures[n] for s, n in zip(signs, one.names, strict=True)] for p in one.points])
    assert len(rows) > 1 and bool(mask(rows).all())
    for point in one.points:
        assert all(chunk.oc == 16 for chunk in point.realised.accelerator.chunks)
        program = outline(NETWORK, point.realised.accelerator, point.realised.mapping)
        interval = schedule(program, point.realised.memories(board), 3).interval / point.realised.mapping.frames
        assert point.figures["fps"] == pytest.approx(board.cycles_per_second / interval)
        assert all(math.isfinite(value) for value in point.predicted)


def test_points_are_priced_as_the_space_prices_them():
    from dna.search.accelerate import Task

    names = ("fps", "bram36")
    of = a_problem(names)
    pinned = Pinned(Task(NETWORK, BOARD, of.goal, Constraints()), names)
    for row in of.space.sample(12, torch.Generator().manual_seed(5)):
        costs = of.costs(row[None])
        feasible = bool(of.goal.evaluate(costs, BOARD).feasible)
        priced = pinned.price(of.space.point(row))
        assert (priced is not None) == feasible
        if priced is not None:
            assert torch.equal(priced[0], objectives(names, costs, BOARD)[0])
            assert priced[1] == float(costs.interval)


def test_limits_that_nothing_keeps_are_named():
    with pytest.raises(
        UserError, match=r"no accelerator runs this network on zc706 \(frame rate at least 1e\+09.*miss"
    ):
        pareto_set(NETWORK, BOARD, "fps,dsp", parse_goal("fastest", ["fps=1e9"]), "random", Budget(50))
