"""What every search method shares: a problem that prices designs, a budget, a ledger and a result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

PENALTY = 4.0
"""Weight of a constraint's log-ratio against the logarithm of cost, for gradients; results put the excess first."""


@dataclass(frozen=True)
class Evaluation:
    """A priced batch of N designs under K constraints.

    `cost` float64 `(N,)`, positive, in the goal's unit; `ratios` float64 `(N, K)`, use over limit, met where at
    most 1; `names`: the K constraints.
    """

    cost: Tensor
    ratios: Tensor
    names: tuple[str, ...]
    smooth: Tensor | None = None
    """Like `cost`, positive, float64 `(N,)`, but falling also where what is not the bottleneck gets better: a norm in
    place of a maximum. None: `cost` itself shows the way. Guides searches, decides nothing."""

    @property
    def feasible(self) -> Tensor:
        """Bool `(N,)`."""
        return (self.ratios <= 1).all(dim=1)

    @property
    def excess(self) -> Tensor:
        """Sum of the violated constraints' log-ratios, float64 `(N,)`; 0 where feasible."""
        return self.ratios.clamp(min=1).log().sum(dim=1)

    @property
    def score(self) -> Tensor:
        """Logarithm of cost plus the penalised excess, float64 `(N,)`."""
        return self.cost.log() + PENALTY * self.excess

    @property
    def guide(self) -> Tensor:
        """The score with the smooth cost: what gradients follow, float64 `(N,)`."""
        return (self.cost if self.smooth is None else self.smooth).log() + PENALTY * self.excess

    def part(self, rows: Tensor | slice) -> Evaluation:
        """That of some designs."""
        smooth = None if self.smooth is None else self.smooth[rows]
        return Evaluation(self.cost[rows], self.ratios[rows], self.names, smooth)


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """The evaluation of several batches of one problem, one after the other."""
    smooth = None if parts[0].smooth is None else torch.cat([part.smooth for part in parts if part.smooth is not None])
    costs, ratios = torch.cat([part.cost for part in parts]), torch.cat([part.ratios for part in parts])
    return Evaluation(costs, ratios, parts[0].names, smooth)


class Choices(Protocol):
    """What a searcher knows of a space: designs are rows of indices, int64 `(axes,)`."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Options per axis."""
        ...

    def legal(self, designs: Tensor) -> Tensor:
        """Whether each design of `(N, axes)` may be priced, bool `(N,)`."""
        ...

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Legal designs drawn at random, `(count, axes)`."""
        ...


class Problem(Protocol):
    """A space and a price for each of its designs."""

    @property
    def space(self) -> Any:
        """At least `Choices`; methods for one kind of space may ask more of it."""
        ...

    def evaluate(self, designs: Tensor) -> Evaluation:
        """Price legal designs `(N, axes)`."""
        ...


@dataclass(frozen=True)
class Budget:
    """When a search must stop: whichever is reached first. Every priced design counts, also a repeated one."""

    evaluations: int = 1_000_000_000
    seconds: float = float("inf")
    watch: Callable[[float], None] | None = field(default=None, compare=False)
    """Called now and then with the fraction of the budget that is spent."""
    clock: Callable[[], float] = field(default=time.perf_counter, compare=False)
    """What seconds are measured with; `time.process_time` where others keep the machine busy."""


@dataclass(frozen=True)
class SearchResult:
    """The best design found, feasible or, where none was, the one with the least excess."""

    method: str
    design: Tensor
    cost: float
    ratios: dict[str, float]
    feasible: bool
    evaluations: int
    seconds: float
    lower_bound: float | None = None
    """Proven bound of the cost over the whole space; equals `cost` where the optimum is proven."""
    trace: tuple[tuple[int, float], ...] = ()
    """(evaluations, best feasible cost) at each improvement."""
    times: tuple[float, ...] = ()
    """Seconds since the start, one per entry of `trace`."""

    @property
    def binding(self) -> tuple[str, ...]:
        """Violated constraints, the worst first."""
        violated = [name for name, ratio in self.ratios.items() if ratio > 1]
        return tuple(sorted(violated, key=lambda name: -self.ratios[name]))


@dataclass
class Ledger:
    """Prices designs for a method, counts them and keeps the best."""

    problem: Problem
    budget: Budget
    evaluations: int = 0
    started: float = field(init=False)
    best: Tensor | None = None
    best_key: tuple[float, float] = (float("inf"), float("inf"))
    """(excess, cost) of the best design."""
    best_ratios: dict[str, float] = field(default_factory=dict)
    trace: list[tuple[int, float]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started = self.budget.clock()

    @property
    def seconds(self) -> float:
        return self.budget.clock() - self.started

    @property
    def left(self) -> int:
        """Evaluations that may still be made; 0 once the time is over and at least something was priced in it."""
        if self.best is not None and self.seconds >= self.budget.seconds:
            return 0
        return max(0, self.budget.evaluations - self.evaluations)

    @property
    def spent(self) -> float:
        """Fraction of the budget, of evaluations or of time, whichever is more."""
        return min(1.0, max(self.evaluations / self.budget.evaluations, self.seconds / self.budget.seconds))

    def price(self, designs: Tensor) -> Evaluation:
        """Price a batch `(N, axes)` and remember its best design. Ties keep the earlier one.

        An empty batch changes nothing: time may end between a look at `left` and the next.
        """
        evaluation = self.problem.evaluate(designs)
        self.record(designs, evaluation, len(designs))
        return evaluation

    def record(self, designs: Tensor, evaluation: Evaluation, count: int) -> None:
        """Count `count` evaluations and take over the best of the rows given."""
        if not len(designs):
            return
        self.evaluations += count
        excess, cost = evaluation.excess, evaluation.cost
        least = torch.nonzero(excess == excess.min())[:, 0]
        row = int(least[cost[least].argmin()])
        key = (float(excess[row]), float(cost[row]))
        if key < self.best_key:
            self.best, self.best_key = designs[row].clone(), key
            self.best_ratios = dict(zip(evaluation.names, evaluation.ratios[row].tolist(), strict=True))
            if key[0] == 0:
                self.trace.append((self.evaluations, key[1]))
                self.times.append(self.seconds)
        if self.budget.watch is not None:
            self.budget.watch(self.spent)

    def take(self, result: SearchResult) -> None:
        """Count another search's evaluations as if they had been made here, the clock having started with it."""
        offset = self.evaluations
        self.evaluations += result.evaluations
        excess = sum(math.log(max(1.0, ratio)) for ratio in result.ratios.values())
        if (excess, result.cost) < self.best_key:
            self.best, self.best_key, self.best_ratios = result.design, (excess, result.cost), dict(result.ratios)
        kept = self.trace[-1][1] if self.trace else math.inf
        for (count, cost), seconds in zip(result.trace, result.times, strict=True):
            if cost < kept:
                self.trace.append((offset + count, cost))
                self.times.append(seconds)

    def result(self, method: str, lower_bound: float | None = None) -> SearchResult:
        if self.best is None:
            raise ValueError("the budget allowed no evaluation")
        return SearchResult(
            method=method,
            design=self.best,
            cost=self.best_key[1],
            ratios=self.best_ratios,
            feasible=self.best_key[0] == 0,
            evaluations=self.evaluations,
            seconds=self.seconds,
            lower_bound=lower_bound,
            trace=tuple(self.trace),
            times=tuple(self.times),
        )
