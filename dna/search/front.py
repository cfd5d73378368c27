"""Pareto sets of accelerators by the closed form: an archive of all that a search prices, whatever it looks for.

`FrontProblem` weighs the objectives into one cost and offers every design that it prices to the archive. Any searcher
runs on it, with other weights in every round; `evolve` takes its parents from the archive itself. Spaces that the
budget covers are enumerated: then the set is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.errors import UserError
from dna.search import counterfactual
from dna.search.evolutionary import mutate
from dna.search.exchange import single_changes
from dna.search.figures import FIGURES
from dna.search.goal import Goal, Limit
from dna.search.legal import propose_legal
from dna.search.methods import SEARCHERS
from dna.search.pareto import Archive, objectives, parse_objectives
from dna.search.pipeline import PipelineProblem
from dna.search.problem import Budget, Evaluation

MOST_OBJECTIVES = 3
OPEN = 1e30
"""A limit that never binds: with it the figure is priced."""
ENUMERATED = 2_000_000
"""Most designs that are all priced."""
BLOCK = 512
"""Designs priced at once where all are."""
ALONE = 0.2
"""Part of the budget of `evolve` in which the best of each objective alone is looked for."""
ROUNDS = 12
"""Weighings of the objectives that the other methods divide their budget into."""
POPULATION, CHILDREN, ENTRANTS = 128, 64, 8
ALTERNATIVES = 128
"""Most changes of one design of the archive that are priced together."""
IDLE = 100
"""Turns without a new design after which a space counts as exhausted."""
SPREAD = 0.05
"""Weight of the sum of all objectives beside the worst one: of two designs that agree in that, it decides."""


def front_names(text: str, board: Board) -> tuple[str, ...]:
    """Two or three objectives as `parse_objectives` reads them. UserError otherwise."""
    names = parse_objectives(text, board)
    if len(names) > MOST_OBJECTIVES:
        raise UserError(f"pareto is '{text}'; it must be two or three figures")
    return names


def front_goal(names: tuple[str, ...], goal: Goal) -> Goal:
    """The goal's limits, and of every objective without one a limit that never binds: so all are priced."""
    limited = {limit.name for limit in goal.limits}
    return Goal("interval", goal.limits).limited(
        Limit(name, OPEN) for name in names if name not in limited and not FIGURES[name].highest
    )


def logarithms(names: tuple[str, ...], values: Tensor) -> Tensor:
    """Values as they are minimised, float64 `(N, objectives)`, on a logarithmic scale; counts from 1 on."""
    floors = [1.0 if not FIGURES[name].unit else 1e-12 for name in names]
    columns = [
        -(-values[:, i]).log() if FIGURES[name].highest else values[:, i].clamp(min=floors[i]).log()
        for i, name in enumerate(names)
    ]
    return torch.stack(columns, dim=1)


def weighed(logs: Tensor, ideal: Tensor, weights: Tensor) -> Tensor:
    """The worst weighted distance to the ideal, and a little of the sum, `(N,)`; weights broadcast."""
    distances = weights * (logs - ideal)
    return distances.amax(dim=-1) + SPREAD * distances.sum(dim=-1)


@dataclass
class FrontProblem:
    """A `Problem` whose cost weighs the objectives; feasible designs that it prices are offered to the archive."""

    base: PipelineProblem
    """Its goal is one of `front_goal`."""
    names: tuple[str, ...]
    archive: Archive
    weights: Tensor
    ideal: Tensor
    """Least logarithm of each objective so far, over designs that are feasible."""
    evaluations: int = 0
    closest: tuple[float, dict[str, float]] = field(default_factory=lambda: (float("inf"), {}))
    """Excess and ratios of the design that is closest to the limits."""

    @staticmethod
    def of(base: PipelineProblem, names: tuple[str, ...]) -> FrontProblem:
        many = len(names)
        ideal = torch.full((many,), float("inf"), dtype=torch.float64)
        return FrontProblem(base, names, Archive(names), torch.ones(many, dtype=torch.float64) / many, ideal)

    @property
    def space(self):  # type: ignore[no-untyped-def]
        return self.base.space

    def price(self, designs: Tensor) -> tuple[Tensor, Evaluation]:
        """Logarithms of the objectives `(N, objectives)`, and the evaluation by the present weights."""
        if not len(designs):
            none = torch.zeros(0, len(self.names), dtype=torch.float64)
            return none, Evaluation(none[:, 0], none[:, :0], ())
        self.evaluations += len(designs)
        costs = self.base.costs(designs)
        judged = self.base.goal.evaluate(costs, self.base.board)
        values = objectives(self.names, costs, self.base.board)
        logs = logarithms(self.names, values)
        self.archive.offer(values, designs, judged.feasible)
        self._learn(logs, judged)
        ideal = torch.where(self.ideal.isfinite(), self.ideal, 0.0)
        cost = weighed(logs, ideal, self.weights).exp()
        smooth = None
        if judged.smooth is not None and "fps" in self.names:
            softer = logs.clone()
            softer[:, self.names.index("fps")] += judged.smooth.log() - costs.interval.log()
            smooth = weighed(softer, ideal, self.weights).exp()
        return logs, Evaluation(cost, judged.ratios, judged.names, smooth)

    def evaluate(self, designs: Tensor) -> Evaluation:
        return self.price(designs)[1]

    def _learn(self, logs: Tensor, judged: Evaluation) -> None:
        excess = judged.excess
        if bool(judged.feasible.any()):
            self.ideal = self.ideal.minimum(logs[judged.feasible].amin(dim=0))
        row = int(excess.argmin())
        if float(excess[row]) < self.closest[0]:
            ratios = dict(zip(judged.names, judged.ratios[row].tolist(), strict=True))
            self.closest = float(excess[row]), ratios


@dataclass(frozen=True)
class Front:
    """What a search of a Pareto set found, by the closed form."""

    archive: Archive
    method: str
    evaluations: int
    seconds: float
    complete: bool
    """Whether every design of the space was priced."""
    closest: dict[str, float]
    """Use over limit of every constraint, of the design that is closest to keeping all."""


def search(
    problem: PipelineProblem,
    names: tuple[str, ...],
    budget: Budget,
    seed: int = 0,
    method: str = "exact",
    start: Tensor | None = None,
) -> Front:
    """The Pareto set that a method finds. `problem.goal`: of `front_goal`; `start`: designs `(N, axes)` that are priced
    first.

    `exact` enumerates what the budget covers and evolves the archive otherwise, as `evolutionary` does; the methods of
    `SEARCHERS` search one weighing of the objectives after the other. Deterministic in `seed` where the budget is one
    of evaluations.
    """
    of, clock = FrontProblem.of(problem, names), _Clock(budget)
    complete = False
    if start is not None:
        of.price(start[: clock.left(of)])
    if method == "exact":
        complete = _enumerate(of, clock)
    if method in ("exact", "evolutionary") and not complete:
        _evolve(of, clock, seed)
        method = "evolutionary"
    elif method not in ("exact", "evolutionary"):
        _rounds(of, clock, seed, method)
    return Front(of.archive, method, of.evaluations, clock.seconds, complete, of.closest[1])


@dataclass
class _Clock:
    """What is left of a budget that several searches share."""

    budget: Budget
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.budget.clock()

    @property
    def seconds(self) -> float:
        return self.budget.clock() - self.started

    def left(self, of: FrontProblem) -> int:
        """Evaluations; none when the time is over and something was priced."""
        if of.evaluations and self.seconds >= self.budget.seconds:
            return 0
        return max(0, self.budget.evaluations - of.evaluations)

    def part(self, of: FrontProblem, share: float) -> Budget:
        """A share of the whole budget, no more than what is left."""
        evaluations = min(self.left(of), max(1, int(share * self.budget.evaluations)))
        seconds = max(0.0, min(self.budget.seconds - self.seconds, share * self.budget.seconds))
        return replace(self.budget, evaluations=evaluations, seconds=seconds, watch=None)

    def tell(self, of: FrontProblem) -> None:
        if self.budget.watch is not None:
            spent = max(of.evaluations / self.budget.evaluations, self.seconds / self.budget.seconds)
            self.budget.watch(min(1.0, spent))


def _enumerate(of: FrontProblem, clock: _Clock) -> bool:
    """Price every design; False, having priced a few, where the budget is too small for that."""
    size = of.space.size
    if size > min(ENUMERATED, clock.left(of)):
        return False
    done = 0
    for block in of.space.enumerate(BLOCK):
        of.price(block)
        clock.tell(of)
        done += len(block)
        if done < size and clock.seconds * size / done > clock.budget.seconds:
            return False
    return True


def _rounds(of: FrontProblem, clock: _Clock, seed: int, method: str) -> None:
    """One search after the other: each objective alone, then random weights."""
    generator = torch.Generator().manual_seed(seed)
    number = 0
    while clock.left(of):
        of.weights = _corner(of, number) if number < len(of.names) else _weights(of, 1, generator)[0]
        SEARCHERS[method](of, clock.part(of, 1 / ROUNDS), seed + number)
        clock.tell(of)
        number += 1


def _evolve(of: FrontProblem, clock: _Clock, seed: int) -> None:
    """Children of the archive and of what was priced last; in turns, changes of single axes of the archive's designs.

    Parents win tournaments by weights drawn for each, so that the set grows everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    for number in range(len(of.names)):
        if clock.left(of):
            of.weights = _corner(of, number)
            counterfactual.search(of, clock.part(of, ALONE / len(of.names)), seed + number)
    of.weights = torch.full((len(of.names),), 1.0 / len(of.names), dtype=torch.float64)
    pool = _Pool(of, of.space.sample(min(POPULATION, clock.left(of)), generator)) if clock.left(of) else None
    explored: set[tuple[int, ...]] = set()
    seen: set[tuple[int, ...]] = set()
    turn = idle = 0
    while pool is not None and idle < IDLE and (left := clock.left(of)):
        rows = _changed(of, explored, generator) if turn % 2 else None
        if idle > 1:
            rows = of.space.sample(POPULATION, generator)
        rows = _unseen(of, _children(of, pool, generator) if rows is None else rows, seen)[:left]
        idle = 0 if len(rows) else idle + 1
        if len(rows):
            pool.add(rows)
        clock.tell(of)
        turn += 1


def _unseen(of: FrontProblem, rows: Tensor, seen: set[tuple[int, ...]]) -> Tensor:
    """The rows whose designs have not come here before."""
    fresh = []
    for number, row in enumerate(of.space.canonical(rows).tolist()):
        if tuple(row) not in seen:
            seen.add(tuple(row))
            fresh.append(number)
    return rows[fresh]


def _corner(of: FrontProblem, number: int) -> Tensor:
    """Nearly all weight on one objective; the others decide between equal designs."""
    weights = torch.full((len(of.names),), 0.01, dtype=torch.float64)
    weights[number] = 1.0
    return weights


def _weights(of: FrontProblem, count: int, generator: torch.Generator) -> Tensor:
    """Uniform on the simplex, `(count, objectives)`."""
    drawn = -torch.rand(count, len(of.names), dtype=torch.float64, generator=generator).clamp(min=1e-9).log()
    return drawn / drawn.sum(dim=1, keepdim=True)


@dataclass
class _Pool:
    """What was priced last."""

    of: FrontProblem
    rows: Tensor
    logs: Tensor = field(init=False)
    excess: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.logs, judged = self.of.price(self.rows)
        self.excess = judged.excess

    def add(self, rows: Tensor) -> None:
        logs, judged = self.of.price(rows)
        self.rows = torch.cat([self.rows, rows])[-POPULATION:]
        self.logs = torch.cat([self.logs, logs])[-POPULATION:]
        self.excess = torch.cat([self.excess, judged.excess])[-POPULATION:]

    def winners(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows of the winners of `count` tournaments among these and the archive, each by its own weights."""
        archive = self.of.archive
        rows, logs, excess = self.rows, self.logs, self.excess
        if len(archive.values):
            rows = torch.cat([archive.designs, rows])
            logs = torch.cat([logarithms(archive.names, archive.values), logs])
            excess = torch.cat([torch.zeros(len(archive.values), dtype=torch.float64), excess])
        entrants = torch.randint(len(rows), (count, ENTRANTS), generator=generator)
        ideal = torch.where(self.of.ideal.isfinite(), self.of.ideal, logs.amin(dim=0))
        scores = weighed(logs[entrants], ideal, _weights(self.of, count, generator)[:, None]) + 4 * excess[entrants]
        return rows[entrants.gather(1, scores.argmin(dim=1, keepdim=True))[:, 0]]


def _children(of: FrontProblem, pool: _Pool, generator: torch.Generator) -> Tensor:
    """Legal designs of two parents each, half of them of one, with one to four axes changed."""
    first, second = (pool.winners(CHILDREN, generator) for _ in range(2))

    def propose(numbers: Tensor) -> Tensor:
        mixed = torch.rand(len(numbers), 1, generator=generator) < 0.5
        other = torch.rand(len(numbers), first.shape[1], generator=generator) < 0.5
        rows = torch.where(mixed & other, second[numbers], first[numbers])
        for share in (1.0, 0.5, 0.25, 0.25):
            again = torch.rand(len(numbers), 1, generator=generator) < share
            rows = torch.where(again, mutate(of.space, rows, generator), rows)
        return rows

    return propose_legal(of.space, propose, first, generator)


def _changed(of: FrontProblem, explored: set[tuple[int, ...]], generator: torch.Generator) -> Tensor | None:
    """Changes of single axes of a design of the archive that was not asked for them before; None without one."""
    fresh = [row for row in of.archive.designs.tolist() if tuple(row) not in explored]
    if not fresh:
        return None
    chosen = fresh[int(torch.randint(len(fresh), (1,), generator=generator))]
    explored.add(tuple(chosen))
    design = torch.tensor(chosen)
    rows = single_changes(of.space, design)
    rows = rows[(rows != design).any(dim=1)]
    rows = rows[torch.randperm(len(rows), generator=generator)]
    rows = rows[of.space.legal(rows)][:ALTERNATIVES]
    return rows if len(rows) else None
