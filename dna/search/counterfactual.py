"""Counterfactual gradient search: every alternative of every choice is priced around sampled designs.

One step prices, for each member of a small population, a sampled design and all designs that differ from it in one
axis. That gives the exact gradient of the expected score in each axis' logits, the other axes being as sampled:

    g[m, k] = pi[m, k] * (C[m, k] - sum_j pi[m, j] * C[m, j])

Mirror steps follow it under an entropy term that is annealed away. Where there are too many alternatives to price, a
step takes some axes at a time. A member whose distribution has settled is finished by exchanging pairs of axes, as is a
random design beside it, and restarted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dna.search.exchange import improve, single_changes
from dna.search.problem import Budget, Choices, Ledger, Problem, SearchResult


@dataclass(frozen=True)
class Settings:
    """What may be tuned; the defaults serve spaces from a handful of axes to some hundreds."""

    population: int = 4
    rate: float = 1.0
    """Step of the logits per unit of log-cost."""
    temperature: float = 0.3
    """Weight of the entropy at a member's first step; falls linearly to 0 over `steps`."""
    steps: int = 20
    """Steps until a member is finished and restarted; fewer where they would take more than half of what is left."""
    alternatives: int = 512
    """Most designs priced per member and step: of more alternatives, those of axes drawn anew for each step."""
    spread: float = 0.5
    """Standard deviation of a member's first logits: members and restarts shall differ."""
    pairs: int = 4096
    """Most designs priced by one round of exchanging pairs."""
    finish: bool = True
    """Whether settled members are finished by exchanges at all; without, their most probable designs are priced."""


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


def _some_axes(space: Choices, most: int, generator: torch.Generator) -> list[int]:
    """All axes that have a choice or, where those have more than `most` values, as many random ones as fit, or one."""
    free = [axis for axis, width in enumerate(space.widths) if width > 1]
    if sum(space.widths[axis] for axis in free) <= most:
        return free
    chosen: list[int] = []
    for position in torch.randperm(len(free), generator=generator).tolist():
        if not chosen or most >= space.widths[free[position]]:
            chosen.append(free[position])
            most -= space.widths[free[position]]
    return sorted(chosen)


def _priced_alternatives(ledger: Ledger, designs: Tensor, axes: list[int]) -> Tensor:
    """Score of each design with each of the axes set to each value, float64 `(members, sum of their widths)`.

    An illegal alternative gets the worst score of its member's batch.
    """
    space = ledger.problem.space
    rows = torch.cat([single_changes(space, design, axes) for design in designs])
    legal = space.legal(rows)
    scores = torch.full((len(rows),), float("-inf"), dtype=torch.float64)
    scores[legal] = ledger.price(rows[legal]).guide
    scores = scores.view(len(designs), -1)
    worst = scores.max(dim=1, keepdim=True).values
    return torch.where(legal.view_as(scores), scores, worst)


def _sample(space: Choices, logits: list[Tensor], member: int, generator: torch.Generator) -> Tensor:
    """A legal design from a member's distributions; after 64 illegal draws a uniform one."""
    draws = [torch.multinomial(x[member].softmax(-1), 64, replacement=True, generator=generator) for x in logits]
    rows = torch.stack(draws, dim=1)
    legal = torch.nonzero(space.legal(rows))
    return rows[legal[0, 0]] if len(legal) else space.sample(1, generator)[0]


def search(problem: Problem, budget: Budget, seed: int = 0, settings: Settings | None = None) -> SearchResult:
    """Search until the budget is spent. Deterministic in `seed` where the budget is one of evaluations."""
    settings = settings or Settings()
    space = problem.space
    generator = torch.Generator().manual_seed(seed)
    ledger = Ledger(problem, budget)
    while ledger.left:
        members = max(1, min(settings.population, ledger.left // (2 * _step_cost(space, settings))))
        logits = [settings.spread * _normal(members, width, generator) for width in space.widths]
        _descend(ledger, logits, settings, generator)
        starts = [mode(space, logits, member, generator) for member in range(members)]
        settled = torch.unique(torch.stack(starts), dim=0)
        if not settings.finish:
            ledger.price(settled[: ledger.left])
            continue
        for start in settled:
            for design in (start, space.sample(1, generator)[0]):
                if ledger.left:
                    improve(ledger, design, settings.pairs, generator)
    return ledger.result("counterfactual")


def _step_cost(space: Choices, settings: Settings) -> int:
    """Most designs that a step prices per member."""
    return max(1, max(space.widths), min(settings.alternatives, sum(width for width in space.widths if width > 1)))


def _descend(ledger: Ledger, logits: list[Tensor], settings: Settings, generator: torch.Generator) -> None:
    """Run a population's mirror steps in place, with half of the budget that is left at most."""
    per_step = len(logits[0]) * _step_cost(ledger.problem.space, settings)
    steps = min(settings.steps, ledger.left // (2 * per_step))
    half = ledger.seconds + (ledger.budget.seconds - ledger.seconds) / 2
    for number in range(steps):
        if ledger.seconds > half or not ledger.left:
            return
        temperature = settings.temperature * (1 - number / steps)
        step(ledger, logits, settings.rate, temperature, generator, settings.alternatives)


def _normal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=generator)


def step(
    ledger: Ledger,
    logits: list[Tensor],
    rate: float,
    temperature: float,
    generator: torch.Generator,
    alternatives: int = Settings.alternatives,
) -> None:
    """One mirror step of every member's logits, `(members, options)` per axis, in place of the list's entries."""
    space = ledger.problem.space
    designs = torch.stack([_sample(space, logits, member, generator) for member in range(len(logits[0]))])
    axes = _some_axes(space, alternatives, generator)
    if not axes:
        return
    costs = _priced_alternatives(ledger, designs, axes).split([space.widths[axis] for axis in axes], dim=1)
    for axis, cost in zip(axes, costs, strict=True):
        logits[axis] = mirror_step(logits[axis], cost, rate, temperature)


def mode(space: Choices, logits: list[Tensor], member: int, generator: torch.Generator) -> Tensor:
    """The most probable design of a member; a sample where that is illegal."""
    design = torch.stack([axis[member].argmax() for axis in logits])
    return design if bool(space.legal(design[None])) else _sample(space, logits, member, generator)
