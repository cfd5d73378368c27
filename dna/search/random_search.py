"""Uniform random designs: the baseline that every method has to beat."""

from __future__ import annotations

import torch

from dna.search.problem import Budget, Ledger, Problem, SearchResult

BATCH = 256


def search(problem: Problem, budget: Budget, seed: int = 0) -> SearchResult:
    """Draw legal designs until the budget is spent; the best feasible one wins."""
    generator = torch.Generator().manual_seed(seed)
    ledger = Ledger(problem, budget)
    while left := ledger.left:
        ledger.price(problem.space.sample(min(BATCH, left), generator))
    return ledger.result("random")
