"""Regularised evolution with crossover: tournaments choose the parents, the oldest die.

Aging evolution as in Real et al., "Regularized Evolution for Image Classifier Architecture Search" (AAAI 2019), with
its population of 100 and tournaments of 25; uniform crossover over the axes before the one mutation. Tournaments
compare by Deb's rules (2000): less excess first, then less cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dna.search.legal import propose_legal
from dna.search.problem import Budget, Choices, Evaluation, Ledger, Problem, SearchResult


@dataclass(frozen=True)
class Settings:
    """The population and how it moves on."""

    population: int = 100
    tournament: int = 25
    children: int = 10
    """Priced together, as so many workers would; as many of the oldest die."""
    crossover: float = 0.5
    """Probability that a child has two parents."""

    def __post_init__(self) -> None:
        if not (self.tournament >= 1 and 1 <= self.children <= self.population and 0 <= self.crossover <= 1):
            raise ValueError(f"{self}: 1 <= tournament, 1 <= children <= population, 0 <= crossover <= 1")


def search(problem: Problem, budget: Budget, seed: int = 0, settings: Settings | None = None) -> SearchResult:
    """Evolve until the budget is spent. Deterministic in `seed` where the budget is one of evaluations."""
    settings = settings or Settings()
    space = problem.space
    generator = torch.Generator().manual_seed(seed)
    ledger = Ledger(problem, budget)
    alive = space.sample(min(settings.population, ledger.left), generator)
    fitness = _keys(ledger.price(alive))
    while left := ledger.left:
        count = min(settings.children, left)
        ranks = ranking(fitness)
        first, second = (_winners(ranks, count, settings.tournament, generator) for _ in range(2))
        children = _children(space, alive[first], alive[second], settings.crossover, generator)
        priced = _keys(ledger.price(children))
        alive = torch.cat([alive, children])[-settings.population :]
        fitness = torch.cat([fitness, priced])[-settings.population :]
    return ledger.result("evolutionary")


def _keys(evaluation: Evaluation) -> Tensor:
    """(excess, cost) of each design, float64 `(N, 2)`."""
    return torch.stack([evaluation.excess, evaluation.cost], dim=1)


def ranking(keys: Tensor) -> Tensor:
    """Place of each row of (excess, cost) `(N, 2)` in ascending lexicographic order, ties by age."""
    order = torch.sort(keys[:, 1], stable=True).indices
    order = order[torch.sort(keys[order, 0], stable=True).indices]
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))


def _winners(ranks: Tensor, count: int, size: int, generator: torch.Generator) -> Tensor:
    """Row numbers of the best of each of `count` tournaments."""
    entrants = torch.randint(len(ranks), (count, size), generator=generator)
    return entrants.gather(1, ranks[entrants].argmin(dim=1, keepdim=True))[:, 0]


def _children(space: Choices, first: Tensor, second: Tensor, crossover: float, generator: torch.Generator) -> Tensor:
    """One legal child per pair of parents `(N, axes)`."""

    def propose(rows: Tensor) -> Tensor:
        mixed = torch.rand(len(rows), 1, generator=generator) < crossover
        other = torch.rand(len(rows), first.shape[1], generator=generator) < 0.5
        return mutate(space, torch.where(mixed & other, second[rows], first[rows]), generator)

    return propose_legal(space, propose, first, generator)


def mutate(space: Choices, designs: Tensor, generator: torch.Generator) -> Tensor:
    """Each design `(N, axes)` with one axis, of those that have a choice, set to another of its values."""
    widths = torch.tensor(space.widths)
    free = torch.nonzero(widths > 1)[:, 0]
    rows = designs.clone()
    if not len(free):
        return rows
    axis = free[torch.randint(len(free), (len(rows),), generator=generator)][:, None]
    shift = 1 + (torch.rand(len(rows), 1, generator=generator) * (widths[axis] - 1)).long()
    return rows.scatter(1, axis, (rows.gather(1, axis) + shift) % widths[axis])
