"""The proven best design of a `PipelineSpace` whose chunks have runs of layers, by the prices of `PipelineProblem`.

Every choice of a chunk (parameters, share, batch) is priced on every run of layers; such a stage has its cycles per
frame and what it takes of the limits, and stages of one design add up in that and not otherwise. For an interval, a
dynamic programme over prefixes of the network keeps, chunk by chunk, the undominated sums of what is taken. The least
interval with a sum within the limits is bisected among the stages' cycles; for "least hardware" the sums at the
interval asked for hold the answer. For spaces with some thousand choices per chunk; `exact_pipeline` is for the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dna.cost.resources import resources
from dna.errors import UserError
from dna.search.goal import CONSTRAINED, Costs
from dna.search.mapping_space import UNMAPPED
from dna.search.partition import undominated
from dna.search.pipeline import PipelineProblem
from dna.search.point import Point
from dna.search.problem import Budget, Ledger, SearchResult
from dna.search.stage_rows import Places

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_OPTIONS = 20_000
"""Choices of one chunk that are priced on every run."""
MOST_STATES = 100_000
"""Undominated sums kept per prefix; more end the proof, not the search."""
ROUNDING = 1e-12
NOT_ADDED = ("frame rate", "buffers")
"""Constraints that are none of the sums of what chunks take."""


def search(problem: PipelineProblem, budget: Budget, seed: int = 0) -> SearchResult:
    """The optimum; `seed` changes nothing. UserError for what is not covered: free assignments, tensors on chip, goals
    other than the interval and least hardware, too many choices per chunk.

    Evaluations counted are choices times runs. Where nothing is feasible, the result is a random design.
    """
    check(problem)
    ledger = Ledger(problem, budget)
    best: tuple[float, Point] | None = None
    low, complete = np.inf, True
    for frames in problem.space.frames:
        stages = [_stages(problem, chunk, frames) for chunk in range(len(problem.space.spaces))]
        ledger.evaluations += sum(stage.priced for stage in stages)
        solver = _Solver(problem, stages, frames, ledger)
        found = solver.least_hardware() if problem.goal.objective == "hardware" else solver.least_interval()
        complete &= solver.complete
        low = min(low, solver.low)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
    if best is None:
        ledger.price(problem.space.sample(1, torch.Generator().manual_seed(seed)))
        return ledger.result("exact")
    ledger.price(problem.space.row(best[1])[None])
    return ledger.result("exact", ledger.best_key[1] if complete else min(low, ledger.best_key[1]))


def check(problem: PipelineProblem) -> None:
    """UserError where `search` does not cover the problem."""
    space, goal = problem.space, problem.goal
    if space.assignment != "contiguous" or space.tensors or (space.batches and space.batch_per == "layer"):
        raise UserError("exact: needs runs of layers, all tensors in memory, and one batch per chunk")
    limited = {limit.name for limit in goal.limits} - {"fps", "bandwidth", *CONSTRAINED}
    if goal.objective not in ("interval", "hardware") or limited or problem.board.technology is not None:
        raise UserError(f"exact: does not cover '{goal.describe()}' with several chunks")
    for chunk, own in enumerate(space.spaces):
        batches = len(space.batches[chunk]) if space.batches else 1
        count = own.size * len(space.shares[chunk]) * batches
        if count > MOST_OPTIONS:
            raise UserError(f"exact: chunk {chunk} has {count} choices; {MOST_OPTIONS} are the most that it covers")


@dataclass(frozen=True)
class _Stages:
    """All choices of one chunk, O of them, with their prices on L layers; without and with a buffer for residuals."""

    rows: Tensor
    """Row in the chunk's space, then share and batch: int64 `(O, axes + 2)`."""
    used: Floats
    """What each takes of every limit, `(2, O, limits)`."""
    cost: Floats
    """Hardware of each in the goal's unit, `(2, O)`; 0 where that is not the goal."""
    first: Floats
    """Cycles per frame of each layer as the first of a run, `(2, O, L)`; infinite without a mapping."""
    later: Floats
    """Cycles per frame of all layers before each one, had none been the first, `(2, O, L + 1)`; 0 without a mapping."""
    missing: Ints
    """How many of them have no mapping, `(2, O, L + 1)`."""

    @property
    def priced(self) -> int:
        """Choices times runs."""
        layers = self.first.shape[2]
        return len(self.rows) * layers * (layers + 1) // 2

    def cycles(self, residual: int, start: int, end: int) -> Floats:
        """Per frame of the run of layers `start` to `end - 1`, `(O,)`; infinite where one has no mapping."""
        later, missing = self.later[residual], self.missing[residual]
        total = self.first[residual][:, start] + later[:, end] - later[:, start + 1]
        result: Floats = np.where(missing[:, end] > missing[:, start + 1], np.inf, total)
        return result


def _stages(problem: PipelineProblem, chunk: int, frames: int) -> _Stages:
    space = problem.space
    own = space.spaces[chunk]
    batches = space.batches[chunk] if space.batches else (frames,)
    fitting = torch.tensor([batch for batch in batches if frames % batch == 0])
    designs = own.enumerate(own.arrays)
    grid = torch.cartesian_prod(torch.arange(len(designs)), torch.tensor(space.shares[chunk]), fitting)
    rows = torch.cat([designs[grid[:, 0]], grid[:, 1:]], dim=1)
    parts = zip(*(_priced(problem, chunk, rows, residual) for residual in (0, 1)), strict=True)
    return _Stages(rows, *(np.stack(part) for part in parts))


def _priced(problem: PipelineProblem, chunk: int, rows: Tensor, residual: int) -> tuple[NDArray[Any], ...]:
    """`used` to `missing` of the choices, in one of the two ways."""
    values = problem.space.spaces[chunk].values(rows[:, :-2])
    values["residual"] = values["residual"] * residual
    share, batch = rows[:, -2], rows[:, -1]
    numbers, zero = problem.prices.number(values), torch.zeros_like(share)
    columns = []
    for index, layer in enumerate(problem.layers):
        follows = index > 0 and layer.input == problem.layers[index - 1].name
        for chained in (zero, zero + int(follows)):
            cycles = problem.prices.get(layer, values, numbers, Places(share, batch, zero, zero, zero, chained, zero))
            columns.append(torch.where(cycles >= UNMAPPED, torch.inf, cycles.double() / batch))
    priced = torch.stack(columns, dim=1).view(len(rows), -1, 2).numpy()
    start = np.zeros((len(rows), 1))
    finite = np.isfinite(priced[:, :, 1])
    later = np.concatenate([start, np.where(finite, priced[:, :, 1], 0).cumsum(axis=1)], axis=1)
    missing = np.concatenate([start.astype(np.int64), (~finite).cumsum(axis=1)], axis=1)
    return *_taken(problem, values, share), priced[:, :, 0], later, missing


def _taken(problem: PipelineProblem, values: dict[str, Tensor], share: Tensor) -> tuple[Floats, Floats]:
    """What choices take of the limits, `(O, limits)`, and their hardware as the goal counts it: both add up."""
    one, none = torch.ones(len(share), dtype=torch.float64), torch.zeros(len(share), dtype=torch.int64)
    ports = values["ports"].double() * values["port_bytes"] / share
    costs = Costs(one, one, resources(values), none, ports)
    priced = problem.goal.evaluate(costs, problem.board)
    limits = [column for column, name in enumerate(priced.names) if name not in NOT_ADDED]
    hardware = priced.cost if problem.goal.objective == "hardware" else torch.zeros_like(priced.cost)
    return priced.ratios[:, limits].numpy(), hardware.numpy()


@dataclass(frozen=True)
class _Front:
    """Undominated sums of what stages up to a layer take, with the last stage of each, S of them."""

    used: Floats
    """`(S, limits)`"""
    cost: Floats
    before: Ints
    """Row in the front before the last stage."""
    start: Ints
    """First layer of the last stage."""
    option: Ints

    def part(self, rows: Ints) -> _Front:
        return _Front(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass
class _Solver:
    """The dynamic programme for a number of frames."""

    problem: PipelineProblem
    stages: list[_Stages]
    frames: int
    ledger: Ledger
    complete: bool = True
    """Whether what was said is proven."""
    low: float = np.inf
    """Without a proof: no design costs less."""

    def least_interval(self) -> tuple[float, Point] | None:
        """The least interval and its design."""
        candidates = np.unique(np.concatenate([stage for _, _, _, stage in self._runs()]))
        candidates = candidates[np.isfinite(candidates)]
        best, below, above = None, -1, len(candidates)
        while above - below > 1:
            middle = len(candidates) - 1 if best is None else (below + above) // 2
            found = self._within(float(candidates[middle]))
            if found is None:
                below = middle
            else:
                best, above = (float(candidates[middle]), found[1]), middle
            if best is None or (self.ledger.seconds > self.ledger.budget.seconds and above - below > 1):
                break
        self.complete &= above - below <= 1 or best is None
        self.low = float(candidates[below + 1]) if len(candidates) > below + 1 else np.inf
        return best

    def least_hardware(self) -> tuple[float, Point] | None:
        """The least hardware at the frame rate asked for, any without one, and its design."""
        found = self._within(self.problem.goal.cycles(self.problem.board))
        self.low = found[0] if found is not None and self.complete else 0.0
        return found

    def _runs(self) -> Iterator[tuple[int, int, int, Floats]]:
        """(chunk, first layer, layer behind the last, cycles of the choices) of every stage that the space allows."""
        layers, homes = self.problem.layers, self.problem.space.homes
        for chunk, stages in enumerate(self.stages):
            for start in range(len(layers)):
                residual = 0
                for end in range(start + 1, len(layers) + 1):
                    if homes and chunk not in homes[end - 1]:
                        break
                    residual |= int(layers[end - 1].residual is not None)
                    yield chunk, start, end, stages.cycles(residual, start, end)

    def _within(self, interval: float) -> tuple[float, Point] | None:
        """Hardware and design of the cheapest cover by stages of at most so many cycles, None without one."""
        count = len(self.problem.layers)
        table: list[dict[int, _Front]] = [{} for _ in self.stages]
        parts: dict[tuple[int, int], list[_Front]] = {}
        # Runs come chunk by chunk: what ends on one chunk is complete when the next one's first run comes.
        for chunk, start, end, cycles in self._runs():
            if chunk and not table[chunk - 1]:
                table[chunk - 1] = self._merged(parts, chunk - 1)
            before = table[chunk - 1].get(start) if chunk else _nothing(self.stages[0]) if not start else None
            options = np.flatnonzero(cycles <= interval)
            if before is not None and len(options):
                parts.setdefault((chunk, end), []).append(self._joined(before, chunk, start, end, options))
        last = len(self.stages) - 1
        table[last] = table[last] or self._merged(parts, last)
        ends = [(table[n - 1][count], n) for n in self.problem.space.chunks if count in table[n - 1]]
        ends = [(front, n) for front, n in ends if len(front.cost)]
        if not ends:
            return None
        front, number = min(ends, key=lambda item: float(item[0].cost.min()))
        state = int(front.cost.argmin())
        return float(front.cost[state]), self._point(table, number, state)

    def _joined(self, before: _Front, chunk: int, start: int, end: int, options: Ints) -> _Front:
        """Every state before with every choice of the last stage, as far as the limits allow."""
        residual = int(any(layer.residual is not None for layer in self.problem.layers[start:end]))
        used, cost = self.stages[chunk].used[residual][options], self.stages[chunk].cost[residual][options]
        kept, whole = undominated(used, used.sum(axis=1), MOST_STATES)
        self.complete &= whole
        state, option = (grid.ravel() for grid in np.meshgrid(np.arange(len(before.cost)), kept, indexing="ij"))
        total = before.used[state] + used[option]
        fits = (total <= 1 + ROUNDING).all(axis=1)
        state, option = state[fits], option[fits]
        sums = before.cost[state] + cost[option]
        return _Front(total[fits], sums, state, np.full(len(state), start), options[option])

    def _merged(self, parts: dict[tuple[int, int], list[_Front]], chunk: int) -> dict[int, _Front]:
        """The undominated states of a chunk by the layer behind its last."""
        merged = {}
        for (own, end), fronts in parts.items():
            if own == chunk:
                every = _Front(*(np.concatenate([getattr(p, f.name) for p in fronts]) for f in fields(_Front)))
                kept, whole = undominated(every.used, every.used.sum(axis=1), MOST_STATES)
                self.complete &= whole
                merged[end] = every.part(kept)
        return merged

    def _point(self, table: list[dict[int, _Front]], number: int, state: int) -> Point:
        """The design that a state of the last chunk stands for."""
        end, taken = len(self.problem.layers), []
        for chunk in reversed(range(number)):
            front = table[chunk][end]
            start = int(front.start[state])
            taken.append((self.stages[chunk].rows[int(front.option[state])], start, end))
            state, end = int(front.before[state]), start
        taken.reverse()
        spaces, space = self.problem.space.spaces, self.problem.space
        batches = [int(row[-1]) for row, start, end in taken for _ in range(start, end)]
        return Point(
            chunks=tuple(spaces[chunk].chunk(row[:-2]) for chunk, (row, _, _) in enumerate(taken)),
            shares=tuple(int(row[-2]) for row, _, _ in taken),
            assignment=tuple(chunk for chunk, (_, start, end) in enumerate(taken) for _ in range(start, end)),
            frames=self.frames,
            batches=tuple(batches) if space.batches else (),
        )


def _nothing(stages: _Stages) -> _Front:
    """No stage yet."""
    none = np.zeros(1, dtype=np.int64)
    return _Front(np.zeros((1, stages.used.shape[2])), np.zeros(1), none, none, none)
