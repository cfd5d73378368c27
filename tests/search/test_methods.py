import pytest
import torch

from dna.search import counterfactual, paper, random_search
from dna.search.problem import Budget
from dna.search.space import default_space
from tests.search.toy import Toy, small_space

METHODS = {"counterfactual": counterfactual.search, "paper": paper.search, "random": random_search.search}


@pytest.mark.parametrize("seed", range(4))
def test_counterfactual_finds_the_enumerated_optimum_with_a_tenth_of_the_evaluations(seed):
    space = default_space(multipliers=256, residual=False, fixed={"output_words": 128, "ports": 1, "param_words": 256})
    toy = Toy(space, limit=100.0)
    result = counterfactual.search(toy, Budget(evaluations=space.size // 10), seed)
    assert result.feasible and result.cost == pytest.approx(toy.optimum(), rel=1e-12)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("evaluations", [7, 300])
def test_budget_is_kept_and_the_best_is_what_was_priced(name, evaluations):
    toy = Toy(small_space())
    result = METHODS[name](toy, Budget(evaluations=evaluations), 3)
    assert result.evaluations == evaluations
    again = toy.evaluate(result.design[None])
    assert float(again.cost) == result.cost and bool(again.feasible) == result.feasible
    assert result.cost >= toy.optimum()


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_result(name):
    toy = Toy(small_space())
    first, second = (METHODS[name](toy, Budget(evaluations=400), 5) for _ in range(2))
    assert torch.equal(first.design, second.design) and first.trace == second.trace


def test_infeasible_search_returns_the_closest_and_names_the_constraint():
    toy = Toy(small_space(), limit=8.0)  # the smallest legal array has 16 multipliers
    result = counterfactual.search(toy, Budget(evaluations=1500), 0)
    assert not result.feasible and result.binding == ("multipliers",)
    assert result.ratios["multipliers"] == 2.0 and result.trace == ()


def test_single_changes_are_every_value_of_every_axis():
    space = small_space()
    design = space.sample(1, torch.Generator().manual_seed(0))[0]
    rows = counterfactual.single_changes(space, design)
    assert len(rows) == sum(space.widths)
    assert int((rows != design).sum(dim=1).max()) == 1
    assert len(torch.unique(rows, dim=0)) == 1 + sum(width - 1 for width in space.widths)


def test_pair_changes_are_every_legal_pair():
    space = small_space()
    design = space.sample(1, torch.Generator().manual_seed(0))[0]
    everything = space.enumerate(space.arrays)
    expected = everything[(everything != design).sum(dim=1) == 2]
    found = counterfactual.pair_changes(space, design)
    assert torch.equal(torch.unique(found, dim=0), torch.unique(expected, dim=0)) and len(found) == len(expected)
