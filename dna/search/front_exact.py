"""A Pareto set by the exact schedule: designs of the closed form, realised, scheduled, and only the undominated kept.

Where time is left, each one is finished as a single design would be (`dna.search.finish`), under the limit that none of
its other objectives gets worse.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.cost.packed import packed, schedule_packed
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.network import Network
from dna.search.accelerate import Task
from dna.search.constraints import Constraints
from dna.search.figures import FIGURES, figures
from dna.search.finish import costs, finish
from dna.search.front import Front, front_goal, front_names, logarithms, search
from dna.search.front_seeds import MINIMISED, Pinned, seed_points
from dna.search.goal import Goal, Limit
from dna.search.keep import settle
from dna.search.outline import outline
from dna.search.pareto import mask
from dna.search.pipeline import PipelineProblem, pipeline_problem
from dna.search.pipeline_space import PipelineSpace
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.realise import PASSES, Realised, Settled, one_frame_latency, realise
from dna.search.searched import searched

MOST_POINTS = 24
"""Designs of the closed form that are scheduled; of more, those that are farthest from each other."""
CHOICES = 1
"""Mappings of a layer that are scheduled before it is known whether the design stays."""
FINISHED = 0.1
"""Part of the time for schedules that is kept for finishing."""
FINISH_TIMES = 5.0
"""Finishing pays from so many times on what a schedule takes: each layer's mappings are chosen anew."""
SEEDING, SEARCHING = 0.3, 0.2
"""Parts of the time for seeds and for the search; the rest schedules and finishes what they found."""
FINISHING = 24
"""Most schedules that finish one design."""


@dataclass(frozen=True)
class FrontPoint:
    """A design of the set."""

    point: Point
    realised: Realised
    settled: Settled
    figures: dict[str, float]
    """Every figure that the board has, by the exact schedule, in the units of `FIGURES`."""
    predicted: tuple[float, ...]
    """The objectives by the closed form, in the same units."""


@dataclass(frozen=True)
class ParetoSet:
    """Undominated designs by the exact schedule, in the order of the first objective."""

    names: tuple[str, ...]
    points: tuple[FrontPoint, ...]
    others: tuple[tuple[float, ...], ...]
    """Objectives of what the closed form held for undominated, and that is not in the set."""
    found: Front
    """How the space was searched."""
    seeds: int
    """Points that proven searches began with."""
    left_out: int
    """Candidates whose exact schedule would have taken too long."""
    seconds: float


def pareto_set(
    network: Network,
    board: Board,
    text: str,
    goal: Goal,
    method: str,
    budget: Budget,
    seed: int = 0,
    constraints: Constraints | None = None,
) -> ParetoSet:
    """The undominated accelerators in the objectives of `text`, within the limits of `goal` and the constraints.

    `budget.seconds` is for everything, `budget.evaluations` for the search by the closed form; without a limit of time
    the result is deterministic in `seed`. UserError if nothing keeps the limits: it names what binds.
    """
    started = time.perf_counter()
    names, given = front_names(text, board), constraints or Constraints()
    task = Task(network, board, front_goal(names, goal), given)
    seeds = seed_points(task, names, _part(budget, SEEDING, 0.0)) if method == "exact" else []
    space = searched(network, board, given)
    of = pipeline_problem(space, board, task.goal)
    gone = time.perf_counter() - started
    share = SEARCHING + SEEDING - gone / budget.seconds if math.isfinite(budget.seconds) else 1.0
    found = search(of, names, _part(budget, max(0.1, share), SEEDING), seed, method, _rows(space, seeds))
    candidates = _candidates(task, names, found, seeds, of)
    if not candidates:
        raise UserError(_none(task, goal, found))
    rest = 1 - SEEDING - SEARCHING
    left = max(rest * budget.seconds, budget.seconds - (time.perf_counter() - started))
    exact = _Exact(task, names, left, budget.watch)
    points = exact.run(candidates)
    if not points:
        raise UserError(exact.failed)
    kept, others = _undominated(names, points)
    predicted = (_people(names, candidate.value.tolist()) for candidate in candidates)
    shown = tuple(dict.fromkeys([*others, *predicted]))
    return ParetoSet(names, kept, shown, found, len(seeds), exact.left_out, time.perf_counter() - started)


def _rows(space: PipelineSpace, points: Sequence[Point]) -> Tensor:
    """Designs of the points that are in the space, int64 `(N, axes)`."""
    rows = []
    for point in points:
        with suppress(UserError):
            rows.append(space.row(point))
    return torch.stack(rows) if rows else torch.empty(0, len(space.widths), dtype=torch.int64)


def _part(budget: Budget, share: float, before: float) -> Budget:
    """Part of the time; `before`: what the watch has been told."""
    watch = budget.watch
    told = None if watch is None else lambda fraction: watch(before + share * min(1.0, fraction))
    return replace(budget, seconds=share * budget.seconds, watch=told)


@dataclass(frozen=True)
class _Candidate:
    """A design that the closed form holds for undominated."""

    value: Tensor
    """Objectives as they are minimised, `(objectives,)`."""
    point: Point
    cycles: float
    """Of a pass, by the closed form: what its schedule takes grows with them."""


def _candidates(
    task: Task, names: tuple[str, ...], found: Front, seeds: Sequence[Point], of: PipelineProblem
) -> list[_Candidate]:
    """The undominated of both, spread out: those to schedule first come first."""
    pinned = Pinned(task, names)
    every = [
        _Candidate(priced[0], point, priced[1] * point.frames)
        for point in seeds
        if (priced := pinned.price(point)) is not None
    ]
    values, designs = found.archive.sorted()
    if len(values):
        chosen = spread(logarithms(names, values), MOST_POINTS)
        cycles = of.costs(designs[chosen]).interval.tolist()
        points = [of.space.point(designs[row]) for row in chosen]
        every += [
            _Candidate(values[row], point, own * point.frames)
            for row, point, own in zip(chosen, points, cycles, strict=True)
        ]
    if not every:
        return []
    joined = torch.stack([candidate.value for candidate in every])
    rows = torch.nonzero(mask(joined))[:, 0].tolist()
    return [every[rows[number]] for number in spread(logarithms(names, joined[rows]), MOST_POINTS)]


def spread(points: Tensor, count: int) -> list[int]:
    """Numbers of at most `count` points `(N, objectives)`: the best in each objective, then the farthest from those
    chosen, each objective scaled to its range."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    scaled = (points - low) / (high - low).clamp(min=1e-12)
    chosen = list(dict.fromkeys(scaled.argmin(dim=0).tolist()))[:count]
    distance = torch.cdist(scaled, scaled[chosen]).amin(dim=1)
    while len(chosen) < min(count, len(points)):
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
        distance = distance.minimum(torch.cdist(scaled, scaled[chosen[-1:]])[:, 0])
    return chosen


@dataclass
class _Exact:
    """Schedules candidates in a time, leaving out those that would take more than what is left of it."""

    task: Task
    names: tuple[str, ...]
    seconds: float
    watch: Callable[[float], None] | None
    started: float = field(default_factory=time.perf_counter)
    spent: float = 0.0
    cycles: float = 0.0
    """Scheduled in the seconds spent."""
    failed: str = ""
    """Why the last one that was left out for its figures was."""
    left_out: int = 0
    """For lack of time."""

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.started)

    def run(self, candidates: Sequence[_Candidate]) -> list[FrontPoint]:
        """All that keep the limits; one is tried whatever the time, that with the fewest cycles."""
        done: list[FrontPoint] = []
        least = min(range(len(candidates)), key=lambda number: candidates[number].cycles)
        for number in (least, *(number for number in range(len(candidates)) if number != least)):
            candidate = candidates[number]
            if self._takes(candidate.cycles) > self.left - FINISHED * self.seconds and (done or self.cycles):
                self.left_out += 1
                continue
            done += self._scheduled(candidate)
            self._tell(1 - self.left / self.seconds)
        if not self.task.constraints.fixed and any(name in MINIMISED for name in self.names):
            done += self._finished(_undominated(self.names, done)[0])
        return done

    def _takes(self, cycles: float) -> float:
        """Seconds, foretold."""
        return cycles * self.spent / self.cycles if self.cycles else 0.0

    def _scheduled(self, candidate: _Candidate) -> list[FrontPoint]:
        started = time.perf_counter()
        try:
            realised = _realised(self.task, candidate.point)
            predicted = _people(self.names, candidate.value.tolist())
            return [_judged(self.task, self.names, candidate.point, realised, predicted)]
        except UserError as error:
            self.failed = str(error)
            return []
        finally:
            self.cycles += candidate.cycles
            self.spent += time.perf_counter() - started

    def _finished(self, kept: Sequence[FrontPoint]) -> list[FrontPoint]:
        """What the designs become in an equal part of the time each, where that is enough."""
        done = []
        for number, before in enumerate(kept):
            share = self.left / (len(kept) - number)
            if self._takes(FINISH_TIMES * before.settled.interval) < share:
                done += _finished(self.task, self.names, before, share)
            self._tell(1 - self.left / self.seconds)
        return done

    def _tell(self, part: float) -> None:
        if self.watch is not None and math.isfinite(part):
            self.watch(SEEDING + SEARCHING + (1 - SEEDING - SEARCHING) * min(1.0, part))


def _realised(task: Task, point: Point) -> Realised:
    if task.constraints.fixed:
        one = Budget(evaluations=1)
        return settle(task.network, [point], task.within, task.goal, one, task.constraints).realised
    realised = realise(task.network, point, task.board, CHOICES)
    task.check(replace(point, on_chip=realised.mapping.on_chip))
    return realised


def _judged(
    task: Task, names: tuple[str, ...], point: Point, realised: Realised, predicted: tuple[float, ...]
) -> FrontPoint:
    """By the exact schedule. UserError if it misses a limit."""
    network, board = task.network, task.board
    program = outline(network, realised.accelerator, realised.mapping)
    times = schedule_packed(packed(program), realised.memories(board), PASSES)
    used = accelerator_resources(realised.accelerator)
    latency = one_frame_latency(network, realised, board)
    settled = Settled(times.interval, realised.mapping.frames, latency, used)
    taken = costs(realised, settled, program, task.goal, board)
    judged = task.goal.evaluate(taken, board)
    if not bool(judged.feasible):
        ratios = dict(zip(judged.names, judged.ratios[0].tolist(), strict=True))
        missed = "; ".join(task.goal.missed(name, ratio, board) for name, ratio in ratios.items() if ratio > 1)
        raise UserError(f"no accelerator was found whose exact schedule keeps the limits; one misses {missed}")
    exact = {name: float(value) for name, value in figures(taken, board).items()}
    return FrontPoint(point, realised, settled, exact, predicted)


def _finished(task: Task, names: tuple[str, ...], before: FrontPoint, seconds: float) -> list[FrontPoint]:
    """The design with its first objective improved, none of the others worse; nothing where that gains nothing."""
    name = next(name for name in names if name in MINIMISED)
    own = {other: before.figures[other] for other in names if other != name}
    limits = [limit for limit in task.goal.limits if limit.name not in names or limit.name == name]
    limits += [Limit(other, max(value, 1e-9)) for other, value in own.items()]
    goal = Goal(MINIMISED[name], tuple(limits))
    try:
        budget = Budget(evaluations=FINISHING, seconds=seconds)
        done = finish(task.network, [before.point], task.within, goal, budget, check=task.check)
        return [_judged(task, names, done.point, done.realised, before.predicted)]
    except UserError:
        return []


def _people(names: tuple[str, ...], value: Iterable[float]) -> tuple[float, ...]:
    """Figures of objectives as they are minimised."""
    return tuple(-float(v) if FIGURES[name].highest else float(v) for name, v in zip(names, value, strict=True))


def _undominated(
    names: tuple[str, ...], points: Sequence[FrontPoint]
) -> tuple[tuple[FrontPoint, ...], list[tuple[float, ...]]]:
    """The set by the exact figures, best first objective first; and the objectives of the rest."""
    if not points:
        return (), []
    rows = [[point.figures[name] * (-1 if FIGURES[name].highest else 1) for name in names] for point in points]
    inside = mask(torch.tensor(rows, dtype=torch.float64)).tolist()
    order = sorted((row for row, kept in enumerate(inside) if kept), key=lambda row: rows[row])
    others = [_people(names, rows[row]) for row, kept in enumerate(inside) if not kept]
    return tuple(points[row] for row in order), others


def _none(task: Task, asked: Goal, found: Front) -> str:
    """One line: which limits the closest design misses."""
    binding = sorted((name for name, r in found.closest.items() if r > 1), key=lambda name: -found.closest[name])
    missed = "; ".join(task.goal.missed(name, found.closest[name], task.board) for name in binding)
    limits = task.constraints.goal(asked, task.board).limits
    wanted = "; ".join(map(str, limits)) or "within the board"
    return f"no accelerator runs this network on {task.board.name} ({wanted}); the closest one misses {missed}"
