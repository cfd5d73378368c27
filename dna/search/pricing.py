"""What every operator of a supernet costs: the accelerator is solved again with each one in place.

A pool of accelerators is fixed at the start: all that can be the best for some network of the space (for "least
hardware"), or the best of every array for a few networks ("fastest"). Each operator's cycles on the whole pool are
one vector, so that solving a network's accelerator is a sum of vectors and a minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.cost.cycles import frame_start
from dna.network.layer import Layer
from dna.search import exact
from dna.search.accelerator import AcceleratorProblem, problem
from dna.search.goal import Goal
from dna.search.mapping_space import UNMAPPED
from dna.search.problem import Budget, SearchResult
from dna.supernet.space import Space as NetworkSpace
from dna.supernet.space import block_layers, space_network, stem_layer, tail_layers

SOLVE_SECONDS = 20.0
"""Time for the exact solution of the largest network, which bounds the pool."""
EXCESS_FIRST = 1e6
"""Weight that puts what is missing of a frame rate before any cost."""
MAX_ARRAYS = 256
MAX_POOL = 60_000
"""Accelerators in the pool at most; beyond that an even selection."""


@dataclass(frozen=True, eq=False)
class OperatorPrices:
    """A pool of D accelerators with the cycles of every part of the network space on each."""

    space: NetworkSpace
    problem: AcceleratorProblem
    """Of the largest network; its space and goal are the search's."""
    designs: Tensor
    """int64 `(D, axes)`."""
    fixed: Tensor
    """Cycles of start, stem and tail, int64 `(D,)`."""
    operators: Tensor
    """Cycles of each operator, int64 `(blocks, operators, D)`; impossible ones are unmapped."""

    def prices(self, choice: Sequence[int]) -> Tensor:
        """Cost of the best accelerator with each operator in place of the chosen one, float64 `(blocks, operators)`.

        Where no accelerator meets the goal, the cost grows with what is missing. Every pooled accelerator is priced.
        """
        rows = torch.arange(len(choice))
        chosen = self.operators[rows, torch.tensor(choice)]
        others = self.fixed + chosen.sum(dim=0) - chosen
        result = torch.empty(self.operators.shape[:2], dtype=torch.float64)
        for block in range(len(choice)):
            scores, best = self._solve(others[block] + self.operators[block])
            result[block] = scores.gather(1, best[:, None])[:, 0].exp()
        return result

    def best(self, choice: Sequence[int]) -> Tensor:
        """The best accelerator of the pool for a network, int64 `(axes,)`."""
        chosen = self.operators[torch.arange(len(choice)), torch.tensor(choice)]
        return self.designs[int(self._solve((self.fixed + chosen.sum(dim=0))[None])[1])]

    def _solve(self, cycles: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, float64 `(networks, D)`, and the best design's row of each network, from the cycles in that shape.

        A frame rate is a limit, not a price: the least excess comes first, where the goal has one.
        """
        speed = self.problem.goal.cycles_score(cycles, self.problem.board)
        first = EXCESS_FIRST if self.problem.goal.objective == "hardware" else 1.0
        return self._hardware + speed, (self._hardware + first * speed).argmin(dim=1)

    @cached_property
    def _hardware(self) -> Tensor:
        """The part of the score that does not depend on the cycles, float64 `(D,)`."""
        one = torch.ones(len(self.designs), dtype=torch.int64)
        priced = self.problem.price_cycles(self.designs, one)
        return priced.score - self.problem.goal.cycles_score(one, self.problem.board)


def operator_prices(space: NetworkSpace, board: Board, goal: Goal, seed: int = 0) -> OperatorPrices:
    """Choose the pool for a network space and price every operator on it."""
    big, small = _extremes(space)
    largest = problem(space_network(space, big, "largest").layers, board, goal)
    smallest = AcceleratorProblem(
        space_network(space, small, "smallest").layers, largest.space, board, goal, largest.tables
    )
    arrays, limit = _arrays(largest, smallest)
    designs = _pool(space, largest, arrays, limit, torch.Generator().manual_seed(seed))
    stem = stem_layer(space)
    fixed, source, operators = frame_start(largest.space.values(designs), board.memory), stem, []
    for index, block in enumerate(space.blocks):
        candidates = [block_layers(index, block, operator, source) for operator in space.operators]
        rows = [_cycles(largest, layers, designs) for layers in candidates]
        if not space.can_skip(index):
            rows[-1] = torch.full_like(rows[-1], UNMAPPED)
        operators.append(torch.stack(rows))
        source = candidates[0][-1]
    fixed = fixed + _cycles(largest, [stem, *tail_layers(space, source)], designs)
    return OperatorPrices(space, largest, designs, fixed, torch.stack(operators))


def _extremes(space: NetworkSpace) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The choices with most and fewest multiplies: largest kernel and expansion; skip or the smallest of both."""
    operators = space.operators
    most = max(range(len(operators) - 1), key=lambda i: (operators[i].expansion, operators[i].kernel))
    fewest = min(range(len(operators) - 1), key=lambda i: (operators[i].expansion, operators[i].kernel))
    blocks = range(len(space.blocks))
    return tuple(most for _ in blocks), tuple(len(operators) - 1 if space.can_skip(i) else fewest for i in blocks)


def _arrays(largest: AcceleratorProblem, smallest: AcceleratorProblem) -> tuple[Tensor, float]:
    """Arrays that can be the best for some network, and the cost that no network's best exceeds."""
    solved: SearchResult = exact.search(largest, Budget(seconds=SOLVE_SECONDS))
    limit = solved.cost if solved.feasible else float("inf")
    bounds = smallest.array_bounds()
    able = bounds.feasible & (bounds.cost <= limit)
    order = exact.bound_order(bounds.excess, bounds.cost)
    kept = order[able[order]]
    return (kept if len(kept) else order)[:MAX_ARRAYS], limit


def _pool(
    space: NetworkSpace, largest: AcceleratorProblem, arrays: Tensor, limit: float, generator: torch.Generator
) -> Tensor:
    if largest.goal.objective == "hardware":
        designs, priced = largest.evaluate_arrays(arrays)
        designs = designs[priced.cost <= limit]
    else:
        designs = torch.cat([_best_of_arrays(space, largest, arrays, generator) for _ in range(4)])
        designs = torch.unique(designs, dim=0)
    return designs[:: -(-len(designs) // MAX_POOL)]


def _best_of_arrays(
    space: NetworkSpace, largest: AcceleratorProblem, arrays: Tensor, generator: torch.Generator
) -> Tensor:
    """The best buffers of each array for a random network."""
    possible = [len(space.operators) - int(not space.can_skip(i)) for i in range(len(space.blocks))]
    choice = [int(torch.randint(count, (1,), generator=generator)) for count in possible]
    layers = space_network(space, choice, "random").layers
    drawn = AcceleratorProblem(layers, largest.space, largest.board, largest.goal, largest.tables)
    designs, priced = drawn.evaluate_arrays(arrays)
    rows = priced.score.view(len(arrays), -1).argmin(dim=1) + torch.arange(len(arrays)) * len(drawn.space.buffers)
    return designs[rows]


def _cycles(of: AcceleratorProblem, layers: Sequence[Layer], designs: Tensor) -> Tensor:
    """Cycles of some layers on the designs, int64 `(D,)`; a layer that fits no tile counts `UNMAPPED`."""
    cycles = torch.zeros(len(designs), dtype=torch.int64)
    for layer in layers:
        cycles += of.layer_cycles(layer, designs)
    return cycles
