"""What parts of a search are worth: the inner mapping solver switched off, the exchange of pairs lent to others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dna.cost.cycles import frame_start, price
from dna.network.layer import Layer
from dna.search.accelerator import AcceleratorProblem
from dna.search.exchange import improve
from dna.search.mapping_space import UNMAPPED, candidates, shape_of
from dna.search.methods import Search
from dna.search.problem import Budget, Evaluation, Ledger, Problem, SearchResult
from dna.search.space import Space

PAIRS = 4096


def with_exchange(search: Search, share: float = 0.5, pairs: int = PAIRS) -> Search:
    """The search with `share` of the budget; the rest goes to exchanging pairs, from its best design and then others.

    `pairs`: most pairs tried around a design.
    """

    def finished(problem: Problem, budget: Budget, seed: int = 0) -> SearchResult:
        ledger = Ledger(problem, budget)
        part = replace(budget, evaluations=max(1, round(share * budget.evaluations)), seconds=share * budget.seconds)
        first = search(problem, replace(part, watch=None), seed)
        ledger.take(first)
        generator, start = torch.Generator().manual_seed(seed), first.design
        while ledger.left:
            improve(ledger, start, pairs, generator)
            start = problem.space.sample(1, generator)[0]
        return ledger.result(f"{first.method} + exchange")

    return finished


@dataclass(frozen=True)
class Unsolved:
    """A one-chunk problem with the inner solver off: every evaluation draws each layer's mapping at random.

    Mappings are uniform among those that can be compiled for the design, so each price is one that can be had; a design
    has another price each time.
    """

    solved: AcceleratorProblem
    generator: torch.Generator

    @property
    def space(self) -> Space:
        return self.solved.space

    def evaluate(self, designs: Tensor) -> Evaluation:
        """Price designs `(N, axes)` with drawn mappings."""
        values = self.space.values(designs)
        cycles = frame_start(values, self.solved.tables.memory)
        for layer in self.solved.layers:
            cycles = cycles + self._drawn(shape_of(layer), values)
        return self.solved.price_cycles(designs, cycles)

    def _drawn(self, shape: Layer, values: dict[str, Tensor]) -> Tensor:
        """Cycles of the layer with a random mapping on each design, int64 `(N,)`; `UNMAPPED` where none fits."""
        cycles = torch.full_like(values["px"], UNMAPPED)
        for px in torch.unique(values["px"]).tolist():
            rows = torch.nonzero(values["px"] == px)[:, 0]
            part = {name: value[rows] for name, value in values.items()}
            priced = price(shape, candidates(shape, px), part, self.solved.tables.memory)
            fits = priced.legal
            for name, need in priced.needs.items():
                fits = fits & (need <= part[name][:, None])
            drawn = torch.rand(fits.shape, generator=self.generator).masked_fill(~fits, -1.0).argmax(dim=1)
            taken = priced.cycles.expand(fits.shape).gather(1, drawn[:, None])[:, 0]
            cycles[rows] = torch.where(fits.any(dim=1), taken, UNMAPPED)
        return cycles
