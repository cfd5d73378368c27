"""Counterfactual gradient search: every alternative of every choice is priced around sampled designs.

One step prices, for each member of a small population, a sampled design and all designs that differ from it in one
axis. That gives the exact gradient of the expected score in each axis' logits, the other axes being as sampled:

    g[m, k] = pi[m, k] * (C[m, k] - sum_j pi[m, j] * C[m, j])

Mirror steps follow it under an entropy term that is annealed away. A member whose distribution has settled is
finished by exchanging pairs of axes, as is a random design beside it, and restarted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dna.search.problem import Budget, Ledger, Problem, SearchResult
from dna.search.space import Space


@dataclass(frozen=True)
class Settings:
    """What may be tuned; the defaults serve one-chunk spaces of up to a hundred million designs."""

    population: int = 4
    rate: float = 1.0
    """Step of the logits per unit of log-cost."""
    temperature: float = 0.3
    """Weight of the entropy at a member's first step; falls linearly to 0 over `steps`."""
    steps: int = 20
    """Steps until a member is finished and restarted."""
    spread: float = 0.5
    """Standard deviation of a member's first logits: members and restarts shall differ."""
    pairs: int = 4096
    """Most designs priced by one round of exchanging pairs."""


def advantage(probabilities: Tensor, costs: Tensor) -> Tensor:
    """C[k] - sum_j pi[j] C[j], along the last dimension. Options of probability 0 may not cost infinity."""
    return costs - (probabilities * costs).sum(dim=-1, keepdim=True)


def logit_gradient(probabilities: Tensor, costs: Tensor) -> Tensor:
    """The exact gradient of sum_j pi[j] C[j] in the logits of pi, along the last dimension."""
    return probabilities * advantage(probabilities, costs)


def mirror_step(logits: Tensor, costs: Tensor, rate: float, temperature: float) -> Tensor:
    """One step of mirror descent on the simplex for expected cost minus `temperature` times entropy.

    In logits it is a plain shift by the advantage and a pull towards uniform. Shapes `(..., options)`.
    """
    probabilities = logits.softmax(dim=-1)
    return (1 - rate * temperature) * logits - rate * advantage(probabilities, costs)


def single_changes(space: Space, design: Tensor) -> Tensor:
    """The design with each axis set to each of its values, int64 `(sum of widths, axes)`; some may be illegal."""
    rows = design.repeat(sum(space.widths), 1)
    start = 0
    for axis, width in enumerate(space.widths):
        rows[start : start + width, axis] = torch.arange(width)
        start += width
    return rows


def pair_changes(space: Space, design: Tensor) -> Tensor:
    """Legal designs that differ from the given one in exactly two axes, int64 `(N, axes)`."""
    first = single_changes(space, design)
    first = first[(first != design).sum(dim=1) == 1]
    axis = (first != design).int().argmax(dim=1)
    a, b = torch.triu_indices(len(first), len(first), 1)
    keep = axis[a] != axis[b]
    a, b = a[keep], b[keep]
    rows = first[a].clone()
    index = torch.arange(len(rows))
    rows[index, axis[b]] = first[b, axis[b]]
    return rows[space.legal(rows)]


def _priced_alternatives(ledger: Ledger, designs: Tensor) -> Tensor:
    """Score of each design with each axis set to each value, float64 `(members, sum of widths)`.

    An illegal alternative gets the worst score of its member's batch.
    """
    space = ledger.problem.space
    rows = torch.cat([single_changes(space, design) for design in designs])
    legal = space.legal(rows)
    scores = torch.full((len(rows),), float("-inf"), dtype=torch.float64)
    scores[legal] = ledger.price(rows[legal]).score
    scores = scores.view(len(designs), -1)
    worst = scores.max(dim=1, keepdim=True).values
    return torch.where(legal.view_as(scores), scores, worst)


def _sample(space: Space, logits: list[Tensor], member: int, generator: torch.Generator) -> Tensor:
    """A legal design from a member's distributions; after 64 illegal draws a uniform one."""
    draws = [torch.multinomial(x[member].softmax(-1), 64, replacement=True, generator=generator) for x in logits]
    rows = torch.stack(draws, dim=1)
    legal = torch.nonzero(space.legal(rows))
    return rows[legal[0, 0]] if len(legal) else space.sample(1, generator)[0]


def improve(ledger: Ledger, design: Tensor, pairs: int, generator: torch.Generator) -> Tensor:
    """Exchange single axes, then pairs, until nothing gains: one axis gives resources, another takes them."""
    space = ledger.problem.space
    best = design.clone()
    best_score = float(ledger.price(best[None]).score)
    gained = True
    while gained and ledger.left:
        gained = False
        for neighbours in (single_changes, pair_changes):
            rows = neighbours(space, best)
            rows = rows[space.legal(rows)]
            rows = rows[torch.randperm(len(rows), generator=generator)[: min(pairs, ledger.left)]]
            if not len(rows):
                continue
            scores = ledger.price(rows).score
            row = int(scores.argmin())
            if float(scores[row]) < best_score - 1e-12:
                best, best_score, gained = rows[row].clone(), float(scores[row]), True
                break
    return best


def search(problem: Problem, budget: Budget, seed: int = 0, settings: Settings | None = None) -> SearchResult:
    """Search until the budget is spent. Deterministic in `seed` where the budget is one of evaluations."""
    settings = settings or Settings()
    space = problem.space
    generator = torch.Generator().manual_seed(seed)
    ledger = Ledger(problem, budget)
    per_design = sum(space.widths)
    while ledger.left:
        members = max(1, min(settings.population, ledger.left // per_design))
        if ledger.left < per_design:
            ledger.price(space.sample(ledger.left, generator))
            break
        logits = [settings.spread * _normal(members, width, generator) for width in space.widths]
        _descend(ledger, logits, settings, generator)
        starts = [mode(space, logits, member, generator) for member in range(members)]
        for start in torch.unique(torch.stack(starts), dim=0):
            for design in (start, space.sample(1, generator)[0]):
                if ledger.left:
                    improve(ledger, design, settings.pairs, generator)
    return ledger.result("counterfactual")


def _descend(ledger: Ledger, logits: list[Tensor], settings: Settings, generator: torch.Generator) -> None:
    """Run a population's mirror steps in place, as far as the budget goes."""
    for number in range(settings.steps):
        if ledger.left < len(logits[0]) * sum(ledger.problem.space.widths):
            return
        step(ledger, logits, settings.rate, settings.temperature * (1 - number / settings.steps), generator)


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=generator)


def step(ledger: Ledger, logits: list[Tensor], rate: float, temperature: float, generator: torch.Generator) -> None:
    """One mirror step of every member's logits, `(members, options)` per axis, in place of the list's entries."""
    space = ledger.problem.space
    designs = torch.stack([_sample(space, logits, member, generator) for member in range(len(logits[0]))])
    costs = _priced_alternatives(ledger, designs).split(space.widths, dim=1)
    for axis, cost in enumerate(costs):
        logits[axis] = mirror_step(logits[axis], cost, rate, temperature)


def mode(space: Space, logits: list[Tensor], member: int, generator: torch.Generator) -> Tensor:
    """The most probable design of a member; a sample where that is illegal."""
    design = torch.stack([axis[member].argmax() for axis in logits])
    return design if bool(space.legal(design[None])) else _sample(space, logits, member, generator)
