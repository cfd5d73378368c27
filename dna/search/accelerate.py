"""The accelerator of a finished network: points proposed by a search, finished and settled by the exact schedule.

Every method searches the same space (`dna.search.searched`) with the same prices; what it finds is finished alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Any

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator
from dna.accelerator.mapping import Mapping as LayerMappings
from dna.compile.lowering import lower
from dna.errors import UserError
from dna.network.network import Network
from dna.search import exact
from dna.search.accelerator import problem, space_for
from dna.search.constraints import Constraints
from dna.search.exact_pipeline import propose
from dna.search.finish import Finished, costs, finish
from dna.search.goal import CONSTRAINED, Fastest, Goal
from dna.search.keep import Kept, settle
from dna.search.methods import SEARCHERS, default
from dna.search.one_chunk import solve_one_chunk, steady_cycles
from dna.search.outline import outline
from dna.search.pipeline import pipeline_problem
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.realise import one_frame_latency
from dna.search.searched import SEARCHED_CHUNKS, placeable, searched
from dna.search.stage_points import varied

METHODS = (*SEARCHERS, "exact")
"""How points are proposed."""
SEARCHING = 0.7
"""Part of the time in which points are proposed; the rest finishes them by the exact schedule."""
SINGLE_SECONDS = 4.0
LEAST_SECONDS = 2.0
"""Time for proposals, whatever the budget: with less, there might be none."""
RELAXED_SECONDS = 3.0
"""For each constraint of a request that nothing meets: how long a design is looked for without it."""


@dataclass(frozen=True)
class Found:
    """How a search came to its best proposal. Costs are in the goal's unit, by the price model."""

    method: str
    evaluations: int
    seconds: float
    cost: float
    lower_bound: float | None = None
    """Nothing in the method's space costs less, by the price model."""
    trace: tuple[tuple[float, float], ...] = ()
    """(seconds, cost) at each improvement."""

    @property
    def proven(self) -> bool:
        return self.lower_bound is not None and self.lower_bound >= self.cost


@dataclass(frozen=True)
class Solved:
    """An accelerator, how the network runs on it, and what that takes by the exact schedule."""

    accelerator: Accelerator
    mapping: LayerMappings
    shares: tuple[int, ...]
    """As `Design.shares`."""
    cycles: float
    """From frame to frame in steady state."""
    latency: int
    """Cycles of one frame that has the accelerator for itself."""
    cost: float
    """In the goal's unit, by the exact schedule."""
    found: Found
    notices: tuple[str, ...] = ()
    """What the reader should know of how it was found."""


@dataclass(frozen=True)
class Task:
    """What an accelerator is searched for."""

    network: Network
    board: Board
    asked: Goal
    """As asked for; `goal` has the constraints' limits besides."""
    constraints: Constraints

    @cached_property
    def goal(self) -> Goal:
        return self.constraints.goal(self.asked, self.board)

    @property
    def fastest(self) -> bool:
        return self.goal.objective == "interval"

    @cached_property
    def within(self) -> Board:
        """The board with no more of its resources and bandwidth than the goal allows."""
        limits = {limit.name: limit.value for limit in self.goal.limits}
        most = {
            name: max(1, min(int(limits[name]), getattr(self.board, name))) for name in CONSTRAINED if name in limits
        }
        if "bandwidth" in limits:
            allowed = int(limits["bandwidth"] / (self.board.cycles_per_second * 1e-9))
            most["dram_bytes"] = max(1, min(allowed, int(self.board.carried)))
        return replace(self.board, **most)

    def check(self, point: Point) -> None:
        """UserError where the point does not keep the constraints."""
        if not self.constraints.plain:
            self.constraints.check(point, lower(self.network).layers, placeable(self.network))

    @property
    def one_chunk(self) -> bool:
        """Whether the best single chunk is what is asked for: for goals that several chunks do not serve."""
        limited = any(limit.name == "bandwidth" for limit in self.goal.limits)
        return not self.fastest and self.constraints.one_chunk and not limited


def accelerate(
    network: Network,
    board: Board,
    goal: Goal,
    method: str,
    budget: Budget,
    seed: int = 0,
    constraints: Constraints | None = None,
) -> Solved:
    """The best accelerator that the method finds within the budget.

    `budget.seconds` is for the search and the finish together; `budget.evaluations` for the search. UserError if
    nothing on the board reaches the goal: it names what binds.
    """
    given = constraints or Constraints()
    task = Task(network, board, goal, given)
    budget = replace(budget, watch=_never_back(budget.watch))
    seconds = max(LEAST_SECONDS, SEARCHING * budget.seconds)
    searching = replace(budget, seconds=seconds, watch=_part(budget.watch, 0.0, SEARCHING))
    if method == "exact" and task.one_chunk:
        return _one_or_more(task, searching, budget, seed)
    ratios: dict[str, float] = {}
    for points, found, notices in _proposed(task, method, searching, seed):
        seconds = max(LEAST_SECONDS, budget.seconds - found.seconds)
        done = _finished(task, points, Budget(seconds=seconds, watch=_part(budget.watch, SEARCHING, 1.0)))
        if done.feasible:
            return _solved(task, done, found, notices)
        ratios = _ratios(task, done)
    raise UserError(_explained(task, ratios, seed))


def _part(watch: Callable[[float], None] | None, low: float, high: float) -> Callable[[float], None] | None:
    """A watch for a part of the whole."""
    return None if watch is None else lambda fraction: watch(low + (high - low) * min(1.0, fraction))


def _never_back(watch: Callable[[float], None] | None) -> Callable[[float], None] | None:
    """A watch that is told no less than before: a search may begin anew."""
    told = 0.0

    def forward(fraction: float) -> None:
        nonlocal told
        told = max(told, fraction)
        if watch is not None:
            watch(told)

    return forward if watch is not None else None


def _one_or_more(task: Task, searching: Budget, budget: Budget, seed: int) -> Solved:
    """The best single chunk; where the least hardware is asked for, or pipelines if they take less."""
    missed: UserError | None = None
    single: Solved | None = None
    try:
        single = _one_chunk(task, searching, seed)
    except UserError as error:
        missed = error
    alone = {limit.name for limit in task.goal.limits} == {"fps"} and task.constraints.plain
    if task.goal.objective == "hardware" and alone:
        points, found = _exact(task, searching)
        if points:
            seconds = max(LEAST_SECONDS, (1 - SEARCHING) * budget.seconds)
            done = _finished(task, points, Budget(seconds=seconds, watch=_part(budget.watch, SEARCHING, 1.0)))
            if done.feasible and (single is None or done.cost < single.cost):
                return _solved(task, done, replace(found, cost=done.cost), ())
    if single is None:
        assert missed is not None
        raise missed
    return single


def _one_chunk(task: Task, budget: Budget, seed: int) -> Solved:
    """The proven best single chunk on the board's own ports."""
    layers = lower(task.network).layers
    space = task.constraints.chunk_space(space_for(layers, task.board), 0)
    solved = solve_one_chunk(task.network, task.board, task.goal, "exact", budget, seed, space)
    result = solved.result
    trace = tuple(zip(result.times, (cost for _, cost in result.trace), strict=True))
    found = Found("exact", result.evaluations, result.seconds, result.cost, result.lower_bound, trace)
    cycles = steady_cycles(task.network, task.board, solved.chunk, solved.mapping)
    accelerator = Accelerator((solved.chunk,))
    return Solved(accelerator, solved.mapping, (), cycles, solved.cycles, result.cost, found)


def _proposed(
    task: Task, method: str, budget: Budget, seed: int
) -> Iterator[tuple[list[Point], Found, tuple[str, ...]]]:
    """Points, best first, how they were found, and what is to be said of it; more where the first ones are not enough.

    The exact method covers neither all goals nor all constraints; then counterfactual search does.
    """
    if method != "exact":
        yield *_sampled(task, method, budget, seed), ()
        return
    why = "does not cover the goal" if not task.fastest else "does not cover the constraints"
    if task.fastest and task.constraints.plain:
        points, found = _exact(task, budget)
        if points:
            yield points, found, ()
        why = "found none that keeps all limits" if points else f"found none in {found.seconds:.0f} s"
    points, found = _sampled(task, None, budget, seed)
    points += _single_point(task)
    notice = f"the exact method for pipelines {why}; {found.method} searched runs of layers instead"
    yield points, found, (notice,)


def _single_point(task: Task) -> list[Point]:
    """The best single chunk found in a few seconds, where one may be the answer: no search shall end in less."""
    if not task.constraints.plain or 1 not in task.constraints.numbers(1):
        return []
    layers = lower(task.network).layers
    result = exact.search(problem(layers, task.within, Fastest()), Budget(seconds=SINGLE_SECONDS))
    chunk = space_for(layers, task.board).chunk(result.design)
    needed = chunk.ports * chunk.port_bytes
    share = max(1, ceil(needed / task.within.carried))
    return [Point((chunk,), (share,), (0,) * len(layers))] if result.feasible else []


def _exact(task: Task, budget: Budget) -> tuple[list[Point], Found]:
    """The best pipelines within the limits; none if all have another number of chunks than asked for."""
    numbers = task.constraints.numbers(SEARCHED_CHUNKS)
    started = time.perf_counter()
    try:
        goal = Fastest() if task.fastest else task.goal
        best = propose(task.network, task.within, budget, goal=goal, max_chunks=numbers[-1])
    except UserError:
        return [], Found("exact", 0, time.perf_counter() - started, float("inf"))
    ranked = varied(best.points, best.intervals) if task.fastest else best.points
    points = [point for point in ranked if len(point.chunks) in numbers]
    cost = min(best.intervals, default=float("inf"))
    seconds = time.perf_counter() - started
    if not task.fastest:
        return points, Found("exact", 0, seconds, cost, best.lower_bound_hardware)
    return points, Found("exact", 0, seconds, cost, best.lower_bound_cycles, best.trace)


def _sampled(task: Task, method: str | None, budget: Budget, seed: int) -> tuple[list[Point], Found]:
    """The best point of a method that prices one design after the other, by default of the one that suits the problem.
    UserError if it is not feasible."""
    space = searched(task.network, task.board, task.constraints)
    of = pipeline_problem(space, task.board, task.goal)
    method, search = default(of) if method is None else (method, SEARCHERS[method])
    result = search(of, budget, seed)
    if not result.feasible and method == "exact":  # it says that there is none, not which one comes closest
        method, result = "counterfactual", SEARCHERS["counterfactual"](of, budget, seed)
    if not result.feasible:
        raise UserError(_explained(task, result.ratios, seed))
    trace = tuple(zip(result.times, (cost for _, cost in result.trace), strict=True))
    found = Found(method, result.evaluations, result.seconds, result.cost, result.lower_bound, trace)
    return [space.point(result.design)], found


def _finished(task: Task, points: Sequence[Point], budget: Budget) -> Finished | Kept:
    """The best point by the exact schedule, improved by it in all that is not given."""
    if task.constraints.fixed:
        return settle(task.network, points, task.within, task.goal, budget, task.constraints)
    return finish(task.network, points, task.within, task.goal, budget, budget.watch, task.check)


def _solved(task: Task, done: Finished | Kept, found: Found, notices: tuple[str, ...]) -> Solved:
    realised, settled = done.realised, done.settled
    latency = settled.latency or one_frame_latency(task.network, realised, task.board)
    parts = (realised.accelerator, realised.mapping, realised.shares)
    return Solved(*parts, settled.cycles, latency, done.cost, found, notices)


def _ratios(task: Task, done: Finished | Kept) -> dict[str, float]:
    """Use over limit of each constraint, by the exact schedule."""
    program = outline(task.network, done.realised.accelerator, done.realised.mapping)
    evaluation = task.goal.evaluate(costs(done.realised, done.settled, program, task.goal, task.board), task.board)
    return dict(zip(evaluation.names, evaluation.ratios[0].tolist(), strict=True))


def _explained(task: Task, ratios: Mapping[str, float], seed: int) -> str:
    """One line: which limits the closest design misses, and which constraint stands in the way, if one alone does."""
    binding = sorted((name for name in ratios if ratios[name] > 1), key=lambda name: -ratios[name])
    missed = "; ".join(task.goal.missed(name, ratios[name], task.board) for name in binding)
    text = (
        f"no accelerator runs this network on {task.board.name} ({task.goal.describe()});"
        f" the closest one misses {missed}"
    )
    in_the_way = [key for key in task.constraints.keys if _possible_without(task, key, seed)]
    if in_the_way:
        return f"{text}; without '{' or '.join(in_the_way)}' there is one"
    return f"{text}; asked for: {task.constraints.describe()}" if task.constraints.keys else text


def _possible_without(task: Task, key: str, seed: int) -> bool:
    """Whether a short search finds a design where one constraint is dropped."""
    less = replace(task, constraints=task.constraints.without(key))
    of = pipeline_problem(searched(less.network, less.board, less.constraints), less.board, less.goal)
    return SEARCHERS["counterfactual"](of, Budget(seconds=RELAXED_SECONDS), seed).feasible


def search_figures(solved: Solved, board: Board) -> dict[str, Any]:
    """What is kept of a search. `cost`, `lower_bound` and `trace` (seconds, cost) are in the goal's unit, by the price
    model; cycles by the exact schedule."""
    found = solved.found
    figures = {
        "method": found.method,
        "evaluations": found.evaluations,
        "seconds": round(found.seconds, 2),
        "cost": found.cost,
        "lower_bound": found.lower_bound,
        "trace": [[round(second, 2), cost] for second, cost in found.trace],
        "cycles": solved.cycles,
        "latency_cycles": solved.latency,
        "settled_cost": solved.cost,
        "frames_per_second": round(board.cycles_per_second / solved.cycles, 2),
    }
    if found.lower_bound:
        figures["distance"] = round(solved.cost / found.lower_bound - 1, 4)
    return figures
