"""Designs to begin a Pareto set with, from the searches that are proven: single chunks, and pipelines on FPGAs.

One objective after the other is minimised, then again under ever harder limits of the others. None of it need be in
the space that is searched besides, so these are points; `Pinned` prices them by the same closed form.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import Any

import torch
from torch import Tensor

from dna.accelerator.chunk import Accelerator
from dna.compile.lowering import lower
from dna.errors import UserError
from dna.search import exact
from dna.search.accelerate import Task
from dna.search.accelerator import AcceleratorProblem, problem, space_for
from dna.search.exact_pipeline import propose
from dna.search.figures import FIGURES
from dna.search.goal import CONSTRAINED, Goal, Limit
from dna.search.pareto import objectives
from dna.search.pipeline import PipelineProblem
from dna.search.pipeline_space import PipelineSpace
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.searched import SEARCHED_CHUNKS
from dna.search.space import whole_space
from dna.search.stage_rows import RowPrices

MINIMISED = {name: name for name in ("latency", "energy", "edp", "area", "hardware")} | {"fps": "interval"}
"""Objectives that the exact search of single chunks knows."""
RUNGS = 5
"""Limits of each objective: each one is half of the one before."""
SHARES = (1.0, 0.7, 0.5, 0.35, 0.2)
"""Of the board, for pipelines."""
PIPELINE_SECONDS = 3.0
"""Least time for the pipelines of one limit."""


@dataclass(frozen=True)
class Pinned:
    """Prices points by the closed form, in spaces that have nothing but them."""

    task: Task
    """Its goal is one of `dna.search.front.front_goal`."""
    names: tuple[str, ...]

    @cached_property
    def _prices(self) -> RowPrices:
        return RowPrices(self.task.board.memory)

    def price(self, point: Point) -> tuple[Tensor, float] | None:
        """The objectives as they are minimised, `(objectives,)`, and cycles per frame; None where a limit is missed."""
        layers = lower(self.task.network).layers
        tensors = tuple(sorted(point.on_chip))
        space = PipelineSpace(
            layers=layers,
            spaces=tuple(
                whole_space().limit(**{name: (value,) for name, value in chunk.integers.items()} | {"residual": (1,)})
                for chunk in point.chunks
            ),
            chunks=(len(point.chunks),),
            shares=tuple((share,) for share in point.shares),
            assignment="free",
            homes=tuple((home,) for home in point.assignment),
            frames=(point.frames,),
            batch_per="layer",
            batches=tuple((point.batch(index),) for index in range(len(layers))),
            tensors=tensors,
            places=((1,),) * len(tensors),
        )
        of = PipelineProblem(space, self.task.board, self.task.goal, self._prices)
        costs = of.costs(torch.zeros(1, len(space.widths), dtype=torch.int64))
        if not bool(self.task.goal.evaluate(costs, self.task.board).feasible):
            return None
        return objectives(self.names, costs, self.task.board)[0], float(costs.interval)


@dataclass
class _Time:
    """Seconds, what of them is gone, and how many searches share the rest."""

    seconds: float
    runs: int = 1
    started: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.started)

    def next(self) -> float:
        """Seconds for the next search."""
        self.runs -= 1
        return max(0.0, self.left / (self.runs + 1)) if self.runs >= 0 else 0.0


def seed_points(task: Task, names: tuple[str, ...], budget: Budget) -> list[Point]:
    """Points, none twice. Pipelines are looked for only in a limited time: their search counts no evaluations."""
    found: list[Point] = []
    left = _Time(budget.seconds)
    pipelines = task.board.technology is None and "fps" in names and task.constraints.plain
    if pipelines and budget.seconds < float("inf"):
        for point in _pipelines(task, names, _Time(0.7 * budget.seconds)):
            found.append(point)
    if task.constraints.one_chunk:
        for point in _single_chunks(task, names, replace(budget, watch=None), left):
            found.append(point)
    return list(dict.fromkeys(found))


def _pipelines(task: Task, names: tuple[str, ...], left: _Time) -> Iterator[Point]:
    """The fastest pipelines on the board, then on parts of it, of what the objectives count."""
    counted = tuple(name for name in names if name in CONSTRAINED) or (CONSTRAINED if "hardware" in names else ())
    rungs = max(1, min(len(SHARES), int(left.seconds / PIPELINE_SECONDS))) if counted else 1
    numbers = task.constraints.numbers(SEARCHED_CHUNKS)
    for rung, share in enumerate(SHARES[:rungs] if rungs > 2 else (1.0, 0.4)[:rungs]):
        less: dict[str, Any] = {name: max(1, int(share * getattr(task.within, name))) for name in counted}
        if left.left <= 0:
            return
        seconds = left.left / (rungs - rung)
        try:
            best = propose(task.network, replace(task.within, **less), Budget(seconds=seconds), max_chunks=numbers[-1])
        except UserError:  # nothing fits so small a board
            return
        yield from [point for point in best.points if len(point.chunks) in numbers]


def _single_chunks(task: Task, names: tuple[str, ...], budget: Budget, left: _Time) -> Iterator[Point]:
    """The best single chunk for each objective, then within limits of each other one, ever harder."""
    layers = lower(task.network).layers
    space = task.constraints.chunk_space(space_for(layers, task.board), 0)
    of = problem(layers, task.board, replace(task.goal, objective="interval"), space)
    pinned = Pinned(task, names)
    minimised = [name for name in names if name in MINIMISED]
    left.runs = len(minimised) * (1 + RUNGS * (len(names) - 1))
    most = max(1, budget.evaluations // max(1, left.runs))
    for name in minimised:
        aim = Goal(MINIMISED[name], task.goal.limits)
        best = _best(of, aim, task, replace(budget, seconds=left.next(), evaluations=most)) if left.left > 0 else None
        priced = None if best is None else pinned.price(best)
        if best is None or priced is None:
            continue
        yield best
        for other in names:
            if other != name:
                value = float(priced[0][names.index(other)])
                yield from _ladder(of, aim, other, value, task, replace(budget, evaluations=most), left)


def _ladder(
    of: AcceleratorProblem, aim: Goal, other: str, value: float, task: Task, budget: Budget, left: _Time
) -> Iterator[Point]:
    """The best single chunks with another figure at half of `value`, a quarter and so on; frame rates double."""
    for rung in range(1, RUNGS + 1):
        bound = abs(value) * (2.0**rung if FIGURES[other].highest else 0.5**rung)
        limits = tuple(limit for limit in aim.limits if limit.name != other)
        before = next((limit.value for limit in aim.limits if limit.name == other), None)
        if left.left <= 0 or bound <= 0:
            return
        if before is not None:
            bound = max(bound, before) if FIGURES[other].highest else min(bound, before)
        goal = Goal(aim.objective, (*limits, Limit(other, bound)))
        best = _best(of, goal, task, replace(budget, seconds=left.next()))
        if best is None:
            return
        yield best


def _best(of: AcceleratorProblem, goal: Goal, task: Task, budget: Budget) -> Point | None:
    """The best single chunk; None if none keeps all limits."""
    result = exact.search(replace(of, goal=goal), budget)
    if not result.feasible:
        return None
    chunk = of.space.chunk(result.design)
    share = max(1, ceil(Accelerator((chunk,)).ports * chunk.port_bytes / task.board.carried))
    return Point((chunk,), (share,), (0,) * len(of.layers))
