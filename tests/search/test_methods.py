import math
import time
from dataclasses import dataclass

import pytest
import torch

from dna.search import counterfactual, evolutionary, exchange, reinforce
from dna.search.legal import repaired
from dna.search.methods import SEARCHERS as METHODS
from dna.search.problem import PENALTY, Budget, Evaluation, Ledger, joined
from dna.search.space import default_space
from tests.search.toy import Toy, small_space


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
    rows = exchange.single_changes(space, design)
    assert len(rows) == sum(space.widths)
    assert int((rows != design).sum(dim=1).max()) == 1
    assert len(torch.unique(rows, dim=0)) == 1 + sum(width - 1 for width in space.widths)


def test_pair_changes_are_every_legal_pair():
    space = small_space()
    design = space.sample(1, torch.Generator().manual_seed(0))[0]
    everything = space.enumerate(space.arrays)
    expected = everything[(everything != design).sum(dim=1) == 2]
    found = exchange.pair_changes(space, design)
    assert torch.equal(torch.unique(found, dim=0), torch.unique(expected, dim=0)) and len(found) == len(expected)


@dataclass(frozen=True)
class Tiny:
    """Three axes with a choice, 64 designs; those with an even sum of indices, but for one, may not be priced."""

    widths: tuple[int, ...] = (4, 4, 1, 4)

    @property
    def space(self) -> "Tiny":
        return self

    def everything(self):
        rows = torch.cartesian_prod(*(torch.arange(width) for width in self.widths))
        return rows[self.legal(rows)]

    def legal(self, designs):
        return (designs.sum(dim=1) % 2 == 1) | (designs.sum(dim=1) == 0)

    def sample(self, count, generator):
        rows = self.everything()
        return rows[torch.randint(len(rows), (count,), generator=generator)]

    def evaluate(self, designs):
        assert bool(self.legal(designs).all()), "illegal designs must not be priced"
        x = designs.double()
        cost = 5 + (x[:, 0] - 2) ** 2 + (x[:, 1] - x[:, 0]) ** 2 + x[:, 3]
        return Evaluation(cost, ((x[:, 0] + x[:, 1] + 1) / 4)[:, None], ("room",))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_every_method_finds_the_optimum_of_a_tiny_space_with_illegal_designs(name, seed):
    tiny = Tiny()
    priced = tiny.evaluate(tiny.everything())
    result = METHODS[name](tiny, Budget(evaluations=400), seed)
    assert result.feasible and result.cost == float(priced.cost[priced.feasible].min())
    assert bool(tiny.legal(result.design[None]))


@pytest.mark.parametrize("name", METHODS)
def test_a_space_of_one_design_is_no_trouble(name):
    space = small_space(oc=(16,), ic=(1,), px=(1,), post_lanes=(2,), input_words=(64,), weight_words=(64,))
    result = METHODS[name](Toy(space), Budget(evaluations=20), 0)
    assert result.evaluations == 20 and space.size == 1


@pytest.mark.parametrize("name", METHODS)
def test_time_ends_a_search_that_has_priced_something(name):
    started = time.perf_counter()
    result = METHODS[name](Toy(small_space()), Budget(seconds=0.2), 0)
    assert result.evaluations > 0 and result.seconds >= 0.2 and time.perf_counter() - started < 20


@pytest.mark.parametrize("name", METHODS)
def test_the_trace_has_its_times_and_the_watch_sees_the_end(name):
    seen: list[float] = []
    result = METHODS[name](Toy(small_space()), Budget(evaluations=300, watch=seen.append), 1)
    assert len(result.times) == len(result.trace) > 0
    assert list(result.times) == sorted(result.times) and result.times[-1] <= result.seconds
    costs = [cost for _, cost in result.trace]
    assert costs == sorted(costs, reverse=True) and costs[-1] == result.cost
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_repair_keeps_what_is_legal_and_takes_from_the_anchor_what_is_not():
    tiny, generator = Tiny(), torch.Generator().manual_seed(0)
    designs = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [2, 2, 0, 2], [0, 0, 0, 0]])
    anchors = torch.tensor([[3, 0, 0, 0], [1, 2, 0, 0], [0, 3, 0, 2], [1, 0, 0, 0]])
    rows = repaired(tiny, designs, anchors, generator)
    assert bool(tiny.legal(rows).all())
    assert torch.equal(rows[[0, 3]], designs[[0, 3]]) and torch.equal(rows[1], anchors[1])
    assert bool(((rows == designs) | (rows == anchors)).all())


def test_mutation_changes_exactly_one_axis_that_has_a_choice():
    tiny, generator = Tiny(), torch.Generator().manual_seed(0)
    designs = torch.zeros(3000, 4, dtype=torch.int64)
    mutated = evolutionary.mutate(tiny, designs, generator)
    assert bool(((mutated != designs).sum(dim=1) == 1).all()) and not bool(mutated[:, 2].any())
    for axis in (0, 1, 3):
        counts = torch.bincount(mutated[:, axis], minlength=4)
        assert int(counts.sum()) == 3000 and bool(((counts[1:] - 333).abs() < 80).all())


def test_tournaments_put_the_excess_first():
    keys = torch.tensor([[0.0, 9.0], [0.1, 1.0], [0.0, 2.0], [0.0, 2.0], [0.05, 7.0]], dtype=torch.float64)
    assert evolutionary.ranking(keys).tolist() == [2, 4, 0, 1, 3]


def test_the_policy_gradient_is_that_of_the_expected_reward():
    """Over all designs, weighted with their probabilities, the estimator is the true gradient."""
    widths, costs = (2, 3), torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.5, 6.0]], dtype=torch.float64)
    blocked = torch.tensor([[False, False, True], [False, False, False]])
    logits = torch.tensor([[0.3, -0.2, 0.0], [0.1, 0.5, -0.4]], dtype=torch.float64, requires_grad=True)
    first, second = logits[0, :2].softmax(0), logits[1].softmax(0)
    weights = torch.outer(first, second)
    (true,) = torch.autograd.grad((weights * costs).sum(), logits)
    designs = torch.cartesian_prod(*(torch.arange(width) for width in widths))
    advantages = -(costs.flatten() - 2.0) * weights.detach().flatten() * len(designs)
    (found,) = torch.autograd.grad(reinforce.loss(logits, blocked, designs, advantages, 0.0), logits)
    # A constant baseline adds its share of sum(weights * grad log weights), which is 0.
    assert torch.allclose(found, true)
    (bonus,) = torch.autograd.grad(reinforce.loss(logits, blocked, designs, 0 * advantages, 1.0), logits)
    entropies = [-(p * p.log()).sum() for p in (logits[0, :2].softmax(0), logits[1].softmax(0))]
    (expected,) = torch.autograd.grad(-(entropies[0] + entropies[1]) / 2, logits)
    assert torch.allclose(bonus, expected)


def test_pairs_are_foretold_exactly_where_changes_add_up():
    """One axis gives what another takes: the pair is first, though neither change helps on its own."""
    standing = Evaluation(torch.tensor([10.0]), torch.tensor([[1.0, 0.5]]), ("dsp", "lut"))
    changes = Evaluation(
        torch.tensor([10.0, 5.0, 9.9]), torch.tensor([[0.5, 0.5], [1.5, 0.5], [1.2, 0.5]]), ("dsp", "lut")
    )
    here = exchange.Standing(Ledger(Tiny(), Budget()), torch.zeros(4), standing, smooth=False)
    found = here.foretold(changes)
    assert torch.equal(found, found.T) and float(found[0, 1]) == pytest.approx(math.log(5.0))
    assert float(found[1, 2]) == pytest.approx(math.log(4.95) + PENALTY * math.log(1.7))
    assert int(found.argmin()) == 1


@dataclass(frozen=True)
class Stages:
    """Stages in a row, each with its own array out of common multipliers: the slowest counts, equal shares are best."""

    work: tuple[float, ...]
    levels: int
    budget: float

    @property
    def space(self) -> "Stages":
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.levels,) * len(self.work)

    def legal(self, designs):
        return torch.ones(len(designs), dtype=torch.bool)

    def sample(self, count, generator):
        return torch.randint(self.levels, (count, len(self.work)), generator=generator)

    def evaluate(self, designs):
        used = designs.double() + 1
        time = torch.tensor(self.work).double() / used
        ratios = (used.sum(dim=1) / self.budget)[:, None]
        return Evaluation(time.max(dim=1).values, ratios, ("multipliers",), time.norm(p=16, dim=1))


def test_counterfactual_balances_hundreds_of_stages():
    """120 axes of 16 values, 16^120 designs: what is best is known, stages with time to spare give to the slowest."""
    work = tuple(8.0 + i % 5 for i in range(120))
    stages = Stages(work, 16, budget=sum(work))  # work / used = 1 everywhere is the optimum
    result = counterfactual.search(stages, Budget(evaluations=20_000), 0)
    assert result.evaluations == 20_000 and result.feasible and 1 <= result.cost <= 1.5
    rivals = [METHODS[name](stages, Budget(evaluations=20_000), 0).cost for name in ("evolutionary", "random")]
    assert min(rivals) > 2


def test_steps_of_a_large_space_take_some_axes_at_a_time():
    stages = Stages((10.0,) * 50, 16, budget=500.0)
    ledger = Ledger(stages, Budget())
    generator = torch.Generator().manual_seed(0)
    logits = [torch.zeros(2, 16, dtype=torch.float64) for _ in range(50)]
    counterfactual.step(ledger, logits, 1.0, 0.0, generator, alternatives=100)
    moved = [bool(axis.any()) for axis in logits]
    assert ledger.evaluations == 2 * 6 * 16 and sum(moved) <= 6


def test_gains_that_do_not_collide_go_together():
    design = torch.tensor([1, 1, 1, 1, 1])
    rows = torch.tensor(
        [[2, 1, 1, 1, 1], [3, 1, 1, 1, 1], [1, 5, 1, 1, 1], [1, 1, 4, 4, 1], [1, 1, 7, 1, 1], [1, 1, 1, 1, 0]]
    )
    assert exchange.joint_changes(design, rows).tolist() == [[2, 5, 1, 1, 1], [2, 5, 4, 4, 0]]
    assert exchange.joint_changes(design, rows[:2]).tolist() == []


def test_parts_and_joins_of_evaluations():
    whole = Evaluation(torch.arange(4.0), torch.arange(8.0).view(4, 2), ("a", "b"), torch.arange(4.0) + 1)
    again = joined([whole.part(slice(0, 1)), whole.part(torch.tensor([1, 2, 3]))])
    for name in ("cost", "ratios", "smooth"):
        assert torch.equal(getattr(again, name), getattr(whole, name))
    assert joined([Evaluation(whole.cost, whole.ratios, whole.names)]).smooth is None
