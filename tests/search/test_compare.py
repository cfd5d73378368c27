"""Gap statistics on synthetic data, equal budgets, and the ablations."""

import math

import numpy as np
import pytest
import torch

from dna.accelerator.board import load_board
from dna.search import compare, random_search
from dna.search.ablation import Unsolved, with_exchange
from dna.search.accelerator import problem, space_for
from dna.search.compare import Interval, curve, gap, gaps_at, median_interval, percent
from dna.search.goal import Fastest
from dna.search.mapping_space import candidates, shape_of
from dna.search.methods import SEARCHERS
from dna.search.problem import Budget, Ledger, SearchResult
from tests.cost.chains import random_chain
from tests.search.toy import Toy, small_space


def found(cost, trace=(), times=(), feasible=True):
    return SearchResult("x", torch.zeros(1), cost, {}, feasible, 100, 1.0, trace=trace, times=times)


def test_median_and_interval_of_known_values():
    values = list(range(1, 10))
    interval = median_interval(values)
    assert interval.median == 5 and 1 <= interval.low < 5 < interval.high <= 9
    assert median_interval(values) == interval  # no chance in it
    assert median_interval([2.0] * 5) == Interval(2, 2, 2)
    assert median_interval([1.0, 2.0]).median == 1.5


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = [i.low <= 0 <= i.high for i in (median_interval(rng.normal(size=21).tolist(), 0.9) for _ in range(400))]
    assert 0.85 <= np.mean(hits) <= 0.98


def test_more_seeds_narrow_the_interval():
    rng = np.random.default_rng(0)
    few, many = (median_interval(rng.normal(size=count).tolist()) for count in (10, 1000))
    assert many.high - many.low < (few.high - few.low) / 3


def test_what_was_never_found_is_larger_than_anything():
    assert median_interval([0.1, 0.2, math.inf]).median == 0.2
    assert median_interval([0.1, math.inf]).median == math.inf
    assert median_interval([math.inf] * 3) == Interval(math.inf, math.inf, math.inf)
    assert str(median_interval([math.inf] * 3)) == "none found (none found to none found)"


def test_gaps():
    assert gap(found(110.0), 100.0) == pytest.approx(0.1) and gap(found(90.0, feasible=False), 100.0) == math.inf
    assert [percent(x) for x in (0.0, 1e-7, 0.031, 1.5)] == ["0", "0", "3.1 %", "150 %"]


def test_curves_are_steps_of_what_was_found_so_far():
    result = found(10.0, trace=((5, 20.0), (50, 10.0)), times=(0.1, 0.9))
    assert gaps_at(result, 10.0, [4, 5, 49, 50, 99]) == [math.inf, 1.0, 1.0, 0.0, 0.0]
    assert gaps_at(result, 10.0, [0.05, 0.1, 1.0], seconds=True) == [math.inf, 1.0, 0.0]
    other = found(15.0, trace=((1, 15.0),), times=(0.5,))
    medians = [point.median for point in curve([result, other], 10.0, [1, 5, 60]).points]
    assert medians == pytest.approx([math.inf, 0.75, 0.25])


def test_everybody_gets_the_same_budget():
    toy, seen = Toy(small_space()), []
    names = ("random", "evolutionary", "counterfactual")
    budget = Budget(evaluations=150)
    results = compare.compare(toy, {n: SEARCHERS[n] for n in names}, budget, (0, 1), lambda n, r: seen.append(n))
    assert list(results) == list(names) and seen == [n for n in names for _ in range(2)]
    assert all(result.evaluations == 150 for each in results.values() for result in each)
    assert gap(results["random"][0], toy.optimum()) >= 0


def test_the_exchange_takes_over_where_the_search_ends():
    toy, budget = Toy(small_space()), Budget(evaluations=200)
    first = random_search.search(toy, Budget(evaluations=100), 4)
    both = with_exchange(random_search.search)(toy, budget, 4)
    assert both.method == "random + exchange" and both.evaluations == 200
    assert both.trace[: len(first.trace)] == first.trace and both.cost <= first.cost
    assert len(both.trace) == len(both.times)


def test_a_ledger_takes_what_others_found_and_keeps_the_better():
    toy = Toy(small_space())
    good, bad = sorted((random_search.search(toy, Budget(evaluations=30), s) for s in (0, 1)), key=lambda r: r.cost)
    ledger = Ledger(toy, Budget(evaluations=100))
    for result in (bad, good, bad):
        ledger.take(result)
    assert ledger.left == 10 and ledger.result("x").cost == good.cost
    costs = [cost for _, cost in ledger.trace]
    assert costs == sorted(costs, reverse=True) and costs[-1] == good.cost


def test_without_the_solver_prices_can_be_had_and_are_never_better():
    layers = random_chain(np.random.default_rng(7)).layers[:4]
    of = problem(layers, load_board("pynq-z2"), Fastest(), space_for(layers, load_board("pynq-z2")))
    designs = of.space.sample(60, torch.Generator().manual_seed(0))
    off = Unsolved(of, torch.Generator().manual_seed(1))
    solved, drawn, again = of.evaluate(designs), off.evaluate(designs), off.evaluate(designs)
    column = solved.names.index("buffers")
    fits = solved.ratios[:, column] == 1
    assert torch.equal(fits, drawn.ratios[:, column] == 1) and bool(fits.any())
    assert bool((drawn.cost >= solved.cost)[fits].all()) and bool((drawn.cost > solved.cost)[fits].any())
    assert not torch.equal(drawn.cost, again.cost)
    most = max(len(candidates(shape_of(layer), 1)) for layer in layers)
    assert most > 1


def test_without_the_solver_all_draws_reach_the_solved_price():
    """The minimum over many draws of one design is what the solver finds at once."""
    layers = random_chain(np.random.default_rng(7)).layers[:1]
    of = problem(layers, load_board("pynq-z2"), Fastest(), space_for(layers, load_board("pynq-z2")))
    design = of.space.sample(1, torch.Generator().manual_seed(3))
    off = Unsolved(of, torch.Generator().manual_seed(1))
    assert float(off.evaluate(design.repeat(3000, 1)).cost.min()) == float(of.evaluate(design).cost)
