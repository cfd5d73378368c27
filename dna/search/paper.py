"""The paper's estimator, literally: straight-through Gumbel-softmax samples, each weighted with the whole cost.

    gamma* = argmin over gamma of  sum_m GS_hard(gamma^m) * L_cost(hw({GS_hard(gamma^m)}), net)

Kept to compare with. Without a baseline every sampled option is pushed down in proportion to the *mean* cost, which
drives the logits towards uniform however the options differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dna.search.problem import Budget, Choices, Ledger, Problem, SearchResult

RATE = 0.05
TEMPERATURE = 1.0


def sample(logits: Tensor, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hard choices `(draws,)` and the soft Gumbel-softmax samples behind them `(draws, options)`."""
    uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype).clamp(1e-12, 1 - 1e-12)
    soft = ((logits - (-uniform.log()).log()) / temperature).softmax(dim=-1)
    return soft.argmax(dim=-1), soft


def gradient(soft: Tensor, chosen: Tensor, cost: Tensor, temperature: float) -> Tensor:
    """Straight-through gradient of `GS_hard[chosen] * cost` in the logits, `(draws, options)`.

    The forward value of the sampled entry is 1, its derivative that of the soft sample. `cost`: `(draws,)`.
    """
    picked = soft.gather(-1, chosen[..., None])
    onehot = torch.zeros_like(soft).scatter_(-1, chosen[..., None], 1.0)
    return cost[..., None] * picked * (onehot - soft) / temperature


def search(problem: Problem, budget: Budget, seed: int = 0) -> SearchResult:
    """Follow the estimator one sampled design at a time until the budget is spent.

    The cost is taken times the penalties of violated constraints, relative to that of the first design, so that `RATE`
    suits any unit. Illegal samples are drawn again; where 64 in a row are illegal the logits start anew.
    """
    space = problem.space
    generator = torch.Generator().manual_seed(seed)
    ledger = Ledger(problem, budget)
    logits = _uniform(space)
    first, illegal = None, 0
    while ledger.left:
        draws = [sample(axis, TEMPERATURE, generator) for axis in logits]
        design = torch.stack([chosen for chosen, _ in draws], dim=1)
        if not bool(space.legal(design)):
            illegal += 1
            if illegal % 64 == 0:
                logits = _uniform(space)
            continue
        illegal = 0
        score = ledger.price(design).score
        first = score if first is None else first
        for axis, (chosen, soft) in enumerate(draws):
            logits[axis] = logits[axis] - RATE * gradient(soft, chosen, (score - first).exp(), TEMPERATURE)
    return ledger.result("paper")


def _uniform(space: Choices) -> list[Tensor]:
    return [torch.zeros(1, width, dtype=torch.float64) for width in space.widths]
