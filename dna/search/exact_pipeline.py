"""The best pipelines of chunks for a network on a board: proven within a space of stages, by the closed form.

A stage is a contiguous run of the executed layers, on one chunk or a few (`dna.search.stage_kinds`). Stages work on
different frames and hand tensors over in memory, so that in steady state the slowest chunk decides. For an interval T
every run has its smallest options (arrays, buffers, shares of the memory's bandwidth), and `dna.search.partition` says
whether some of them cover the network within the board. T is bisected; what no cover at all can undercut is the bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.board import Board
from dna.compile.lowering import lower
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search import exact_runs
from dna.search.chip_kinds import (
    CHIP_LEVELS,
    DEPTHWISE_LEVELS,
    LINKS,
    MAIN_LEVELS,
    OnChip,
    Split,
    Tensors,
)
from dna.search.goal import Fastest, Goal
from dna.search.partition import Cover, Needs, Options, Step, cover
from dna.search.pipeline import PipelineProblem
from dna.search.point import Point
from dna.search.problem import Budget, Ledger, SearchResult
from dna.search.stage_kinds import ROUTABLE, Beside, Choices, Kind, Limits, Mixed, Prices, small_runs
from dna.search.stage_points import diverse, point_of
from dna.search.stages import SMALLEST_DSP, Menu, dsp_menu, lut_menu

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BEAMS = (48, 400, 4000)
"""States per prefix: few while good points are looked for, more for the proof that there are no better ones."""
KEPT = 16
"""Covers of an interval that become points."""
FINE = 1.004
"""Ratio of two intervals that count as equal."""
STEP = 1.08
"""Ratio of the intervals tried until one has a cover."""
FINE_HARDWARE = 1.02
"""The same of the hardware."""
RESERVES = (1.0, 0.94, 0.86)
"""Parts of the interval asked for, in which the least hardware is looked for."""
ENUMERATED = 2_000_000
"""Designs that are all priced where no other proof is known."""
BLOCK = 4096
"""Designs priced at once."""
MOST = 1000
"""Ratio to the bound of the last interval tried."""
WEIGHTS = np.array(
    [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [1, 0, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 0.5, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 1, 1, 0],
        [1 / 3, 1 / 3, ROUTABLE / 3, 0, 0],
    ],
    dtype=np.float64,
)
"""Weights of the resources, in fractions of what there is, of the lower bounds; the last ones are "hardware"."""


@dataclass(frozen=True)
class Proposals:
    """The best points, best first. `intervals`: predicted cycles per frame of each.

    `lower_bound_cycles`: no point of the space takes fewer per frame, by the closed form. `trace`: (seconds, cycles
    per frame) at each improvement.
    """

    points: list[Point]
    intervals: list[float]
    lower_bound_cycles: float
    trace: tuple[tuple[float, float], ...]
    lower_bound_hardware: float | None = None
    """For least hardware: percent of the board that no point of the space undercuts at the rate asked for."""


@dataclass(frozen=True)
class StageSpace:
    """All pipelines of stages of some kinds for `count` layers."""

    count: int
    frames: int
    """Of a pass: intervals are for all of them."""
    words: float
    """Words per cycle that the ports of all stages may take together."""
    kinds: tuple[Kind, ...]

    @cached_property
    def least(self) -> Floats:
        """Weighted resources times cycles of all frames that each layer takes at least, `(count, W)`."""
        rows = [[kind.least(number, WEIGHTS) for kind in self.kinds] for number in range(self.count)]
        result: Floats = np.array(rows).min(axis=1)
        return result

    @property
    def bound(self) -> float:
        """Cycles of all frames that no cover undercuts."""
        return float((self.least.sum(axis=0) / WEIGHTS.sum(axis=1)).max())

    def needs(self, interval: float, hardware: float = 1.0) -> Needs:
        """Of covers within an interval that take at most such a part of the hardware."""
        most = WEIGHTS.sum(axis=1)
        most[-1] = min(most[-1], hardware)
        return Needs.of(WEIGHTS, self.least / interval, most)


def stage_space(network: Network, board: Board, max_chunks: int, frames: int) -> StageSpace:
    """All kinds of stages for a network on a board."""
    lowered = lower(network)
    layers = lowered.layers
    limits = Limits.of(board, max_chunks)

    def prices(menu: Menu, modes: bool = False) -> Prices:
        return Prices.of(layers, menu, board, limits, frames, modes)

    large, small = prices(dsp_menu(layers, board.dsp), True), prices(lut_menu(layers), True)
    if not large.menu.arrays or board.technology is not None:
        raise UserError(f"exact: no array of DSPs for {board.name}; it covers boards with {SMALLEST_DSP} DSPs or more")
    kinds: list[Kind] = [Mixed(large), Mixed(small, only=small_runs(layers))]
    for beside in _besides(layers):
        rest = frozenset(range(len(layers))) - beside
        kinds.append(Beside(Mixed(large, beside), Mixed(small, rest)))
    able = frozenset(layer.name for layer in layers) - set(lowered.places) - {lowered.output}
    tensors = Tensors(layers, able)
    chip = prices(dsp_menu(layers, board.dsp, ports=2, levels=CHIP_LEVELS))
    kinds += [OnChip(chip, tensors, words) for words in LINKS]
    if any(layer.op == "depthwise" for layer in layers):
        main = prices(dsp_menu(layers, board.dsp, ports=2, levels=MAIN_LEVELS))
        side = prices(dsp_menu(layers, board.dsp, ports=2, levels=DEPTHWISE_LEVELS, depthwise=True))
        kinds.append(Split(main, side, tensors))
    return StageSpace(len(layers), frames, limits.words, tuple(kinds))


def _besides(layers: Sequence[Layer]) -> list[frozenset[int]]:
    """Sets of layers that may be on a chunk beside: maxima, or all pooling."""
    found: list[frozenset[int]] = []
    for ops in (("maxpool",), ("maxpool", "avgpool")):
        beside = frozenset(n for n, layer in enumerate(layers) if layer.op in ops)
        if beside and beside not in found and len(beside) < len(layers):
            found.append(beside)
    return found


@dataclass(frozen=True)
class _Option:
    kind: int
    payload: tuple[int, ...]


@dataclass
class _Search:
    """The state of one `propose`."""

    space: StageSpace
    budget: Budget
    started: float = field(default_factory=time.perf_counter)
    found: dict[tuple[object, ...], tuple[float, Point]] = field(default_factory=dict)
    best: float = float("inf")
    hardware: dict[Point, float] = field(default_factory=dict)
    """Part of the hardware that each point takes."""
    trace: list[tuple[float, float]] = field(default_factory=list)
    options: list[_Option] = field(default_factory=list)
    """By tag."""

    @property
    def over(self) -> bool:
        return time.perf_counter() - self.started > self.budget.seconds

    def attempt(self, interval: float, beam: int, hardware: float = 1.0) -> bool:
        """Keeps the covers within `interval` and such a part of the hardware; whether there are no others."""
        self.options = []
        needs = self.space.needs(interval, hardware)
        found = cover(
            self.space.count,
            lambda first: self._stages(first, interval, needs),
            needs,
            beam,
            lambda: self.over,
        )
        for one in found.covers[:KEPT]:
            cycles, point = self._point(one)
            self.hardware[point] = float(one.used @ WEIGHTS[-1])
            self._keep(cycles, point)
        return found.complete

    def _stages(self, first: int, interval: float, needs: Needs) -> Mapping[int, Options]:
        each = [kind.choices(first, interval, needs).by_end() for kind in self.space.kinds]
        ends = sorted(set().union(*each))
        return {end: self._numbered({k: own[end] for k, own in enumerate(each) if end in own}) for end in ends}

    def _numbered(self, own: Mapping[int, Choices]) -> Options:
        """The undominated options of all kinds, each with its number in `options`."""
        kinds = np.concatenate([np.full(len(c.ends), kind) for kind, c in own.items()])
        rows = np.concatenate([np.arange(len(c.ends)) for c in own.values()])
        used = np.concatenate([c.used for c in own.values()])
        both = Choices(kinds, used, rows[:, None]).least()
        tags = np.arange(len(both.ends)) + len(self.options)
        for kind, row in zip(both.ends.tolist(), both.payload[:, 0].tolist(), strict=True):
            self.options.append(_Option(kind, tuple(own[kind].payload[row].tolist())))
        return Options(both.used, tags)

    def _keep(self, cycles: float, point: Point) -> None:
        key = (tuple((c.oc, c.ic, c.px) for c in point.chunks), point.assignment)
        if key not in self.found or cycles < self.found[key][0]:
            self.found[key] = (cycles, point)
        if cycles < self.best:
            self.best = cycles
            self.trace.append((time.perf_counter() - self.started, cycles / self.space.frames))

    def _point(self, one: Cover) -> tuple[float, Point]:
        """The cover with what is left of the bandwidth, and its interval."""
        steps = list(one.steps)
        options = [self.options[step.tag] for step in steps]
        self._spend(steps, options, float(one.used[3]))
        kinds = self.space.kinds
        parts = [kinds[o.kind].part(s.first, s.end, o.payload) for s, o in zip(steps, options, strict=True)]
        return max(self._cycles(steps, options)), point_of(parts, self.space.count, self.space.frames, self.space.words)

    def _cycles(self, steps: Sequence[Step], options: Sequence[_Option]) -> list[float]:
        kinds = self.space.kinds
        return [kinds[o.kind].cycles(s.first, s.end, o.payload) for s, o in zip(steps, options, strict=True)]

    def _spend(self, steps: Sequence[Step], options: list[_Option], used: float) -> None:
        """Gives what is left of the bandwidth to the slowest stage, again and again."""
        words = self.space.words
        done = [False] * len(steps)
        while not all(done):
            cycles = self._cycles(steps, options)
            slowest = max((i for i in range(len(steps)) if not done[i]), key=lambda i: cycles[i])
            kind, step = self.space.kinds[options[slowest].kind], steps[slowest]
            payload = kind.quicker(step.first, step.end, options[slowest].payload, words * (1 - used))
            if payload is None:
                done[slowest] = True
                continue
            before = kind.part(step.first, step.end, options[slowest].payload)
            options[slowest] = _Option(options[slowest].kind, payload)
            used += (sum(kind.part(step.first, step.end, payload).words) - sum(before.words)) / words


def propose(
    network: Network,
    board: Board,
    budget: Budget | None = None,
    *,
    goal: Goal | None = None,
    max_chunks: int = 4,
    frames: int = 4,
    count: int = 12,
    watch: Callable[[float], None] = lambda fraction: None,
) -> Proposals:
    """The best `count` points, best first: for frames per second or, with `LeastHardware`, for the least hardware that
    reaches a rate. UserError where nothing in the space fits the board, or for other goals.

    `frames`: of a pass, and per weight load.
    """
    goal, budget = goal or Fastest(), budget or Budget()
    ranked_by_rate = goal.objective == "interval"
    covered = not goal.limits if ranked_by_rate else goal.objective == "hardware" and goal.frames_per_second
    if not covered or {limit.name for limit in goal.limits} - {"fps"}:
        raise UserError(f"exact: does not cover '{goal.describe()}' with several chunks")
    space = stage_space(network, board, max_chunks, frames)
    interval = goal.cycles(board) * frames
    solved = solve(space, budget, watch=watch) if ranked_by_rate else spare(space, interval, budget, watch)
    if not solved.ranked:
        raise UserError(f"no pipeline of up to {max_chunks} chunks runs network '{network.name}' on {board.name}")
    ranked = diverse(solved.ranked, count) if ranked_by_rate else solved.ranked[:count]
    points, intervals = [point for _, point in ranked], [cycles / frames for cycles, _ in ranked]
    return Proposals(points, intervals, solved.low / frames, solved.trace, solved.hardware)


@dataclass(frozen=True)
class Solved:
    """All points found with the cycles of their frames, best first, and what none in the space undercuts."""

    ranked: list[tuple[float, Point]]
    low: float
    trace: tuple[tuple[float, float], ...]
    hardware: float | None = None
    """Percent of the board's hardware that none in the space undercuts, where that was asked for."""


def solve(
    space: StageSpace, budget: Budget, fine: float = FINE, watch: Callable[[float], None] = lambda fraction: None
) -> Solved:
    """The least interval of the space, up to a factor of `fine`: proven where `low` is within that factor."""
    search = _Search(space, budget)
    bottom = low = space.bound
    watch(0.3)
    interval = low * STEP
    while search.best == float("inf") and not search.over and interval < space.bound * MOST:
        proven = search.attempt(interval, BEAMS[0])
        if search.best == float("inf"):
            low = interval if proven else low
            bottom, interval = interval, interval * STEP
    watch(0.6)
    for number, beam in enumerate(BEAMS):
        low = max(low, _narrowed(search, bottom if beam == BEAMS[0] else low, fine, beam))
        watch(0.6 + 0.4 * (number + 1) / len(BEAMS))
        if search.best / low <= fine:
            break
    watch(1.0)
    return Solved(sorted(search.found.values(), key=lambda item: item[0]), low, tuple(search.trace))


def _narrowed(search: _Search, bottom: float, fine: float, beam: int) -> float:
    """Bisects between an interval and the best one; what is proven to be out of reach."""
    low = 0.0
    while search.best / bottom > fine and not search.over and search.best < float("inf"):
        # Just below the best, to see whether it is the best, once the rest is narrow.
        narrow = search.best / bottom <= 1 + 2 * (max(fine, 1 + 1e-6) - 1)
        before = search.best
        middle = before * (1 - 1e-9) if narrow else float(np.sqrt(before * bottom))
        proven = search.attempt(middle, beam)
        if search.best == before:
            bottom = before if narrow else middle
            low = bottom if proven else low
    return low


def spare(
    space: StageSpace, interval: float, budget: Budget, watch: Callable[[float], None] = lambda fraction: None
) -> Solved:
    """The least hardware for an interval of all frames; then for shorter ones, for the exact schedule takes longer.

    Points are in the order of their hardware for the interval asked for, those with a reserve behind them.
    """
    points: list[tuple[float, Point]] = []
    bound, started = 0.0, time.perf_counter()
    for number, reserve in enumerate(RESERVES):
        left = Budget(seconds=budget.seconds * (number + 1) / len(RESERVES) - (time.perf_counter() - started))
        search = _Search(space, left)
        low = _least_hardware(search, interval * reserve)
        bound = low if not number else bound
        found = sorted(search.found.values(), key=lambda item: search.hardware[item[1]])
        points += found[: KEPT // len(RESERVES)]
        watch((number + 1) / len(RESERVES))
    return Solved(points, space.bound, (), 100 * bound)


def _least_hardware(search: _Search, interval: float) -> float:
    """Bisects the part of the hardware; what is proven to be too little."""
    low = float(search.space.least[:, -1].sum()) / interval
    bottom, most = low, low * STEP
    while not search.hardware and not search.over and bottom < 1:
        proven = search.attempt(interval, BEAMS[0], most)
        if not search.hardware:
            low = most if proven else low
            bottom, most = most, most * STEP
    while search.hardware and not search.over:
        before = min(search.hardware.values())
        if before / bottom <= FINE_HARDWARE:
            break
        middle = float(np.sqrt(before * bottom))
        proven = search.attempt(interval, BEAMS[0], middle)
        if min(search.hardware.values()) == before:
            bottom = middle
            low = middle if proven else low
    return low


def search(problem: PipelineProblem, budget: Budget, seed: int = 0) -> SearchResult:
    """The proven optimum of an enumerable space: by `exact_runs` or, where that does not cover the space or the goal,
    by pricing every design. `seed` changes nothing. UserError for what is too large for that; no `lower_bound` where
    the budget ends first.
    """
    try:
        return exact_runs.search(problem, budget, seed)
    except UserError:
        if problem.space.size > ENUMERATED:
            raise
    ledger = Ledger(problem, budget)
    for designs in problem.space.enumerate(BLOCK):
        if not ledger.left:
            return ledger.result("exact")
        ledger.price(designs[: ledger.left])
    return ledger.result("exact", ledger.best_key[1] if ledger.best_key[0] == 0 else None)
