"""The proven optimum of a one-chunk space: arrays in the order of their bounds, every buffer choice of each.

An array's bound is the price it would have without a stall and with the smallest buffers. Arrays are priced whole,
best bound first; once the next bound is no better than the best design, no array left can hold a better one. Where
nothing is feasible, the same argument on the excess proves which design comes closest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dna.search.accelerator import AcceleratorProblem
from dna.search.problem import Budget, Ledger, SearchResult

BLOCK = 16


def bound_order(excess: Tensor, cost: Tensor) -> Tensor:
    """Row numbers in ascending order of (excess, cost)."""
    by_cost = torch.sort(cost, stable=True).indices
    return by_cost[torch.sort(excess[by_cost], stable=True).indices]


def search(problem: AcceleratorProblem, budget: Budget, seed: int = 0) -> SearchResult:
    """Enumerate until the optimum is proven or the budget is spent. `seed` changes nothing.

    The result's `lower_bound` equals its cost where the proof is complete; otherwise it is the best bound left.
    """
    ledger = Ledger(problem, budget)
    bounds = problem.array_bounds()
    excess, cost = bounds.excess, bounds.cost
    order = bound_order(excess, cost)
    for block in order.split(BLOCK):
        first = (float(excess[block[0]]), float(cost[block[0]]))
        if first >= ledger.best_key:
            break
        if not ledger.left:
            return ledger.result("exact", min(first[1], ledger.best_key[1]))
        designs, evaluation = problem.evaluate_arrays(block)
        ledger.record(designs, evaluation, len(designs))
    return ledger.result("exact", ledger.best_key[1])
