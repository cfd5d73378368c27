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
from math import ceil

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.board import Board
from dna.compile.lowering import lower
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.chip_kinds import (
    CHIP_LEVELS,
    DEPTHWISE_LEVELS,
    LINKS,
    MAIN_LEVELS,
    OnChip,
    Split,
    Tensors,
)
from dna.search.partition import Cover, Needs, Options, Step, cover
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.stage_kinds import Beside, Choices, Kind, Limits, Mixed, Part, Prices, small_runs
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
    ],
    dtype=np.float64,
)
"""Weights of the resources, in fractions of what there is, of the lower bounds."""


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

    def needs(self, interval: float) -> Needs:
        return Needs.of(WEIGHTS, self.least / interval)


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
    trace: list[tuple[float, float]] = field(default_factory=list)
    options: list[_Option] = field(default_factory=list)
    """By tag."""

    @property
    def over(self) -> bool:
        return time.perf_counter() - self.started > self.budget.seconds

    def attempt(self, interval: float, beam: int) -> bool:
        """Keeps the covers within `interval`; whether there are no others."""
        self.options = []
        needs = self.space.needs(interval)
        found = cover(
            self.space.count,
            lambda first: self._stages(first, interval, needs),
            needs,
            beam,
            lambda: self.over,
        )
        for one in found.covers[:KEPT]:
            self._keep(*self._point(one))
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


def point_of(parts: Sequence[Part], layers: int, frames: int, words: float) -> Point:
    """The parts' chunks, one after the other; shares for at most `words` per cycle of all ports."""
    home, batches = [0] * layers, [frames] * layers
    number = 0
    for part in parts:
        for group in part.groups:
            for layer in group:
                home[layer] = number
            number += 1
        for layer, batch in part.batches:
            batches[layer] = batch
    chunks = tuple(chunk for part in parts for chunk in part.chunks)
    return Point(
        chunks,
        _shares([chunk.ports for chunk in chunks], [w for part in parts for w in part.words], words),
        tuple(home),
        frames,
        tuple(batches) if set(batches) != {frames} else (),
        frozenset().union(*(part.on_chip for part in parts)),
    )


def _shares(ports: Sequence[int], wanted: Sequence[float], words: float) -> tuple[int, ...]:
    """Whole cycles per beat of each chunk's ports, for the words per cycle wanted: more of them where too few
    remain, those that miss most first."""
    shares = [ceil(count / want - 1e-9) for count, want in zip(ports, wanted, strict=True)]

    def missed(chunk: int) -> float:
        return wanted[chunk] * shares[chunk] / ports[chunk]

    for chunk in sorted(range(len(ports)), key=missed, reverse=True):
        others = sum(count / share for n, (count, share) in enumerate(zip(ports, shares, strict=True)) if n != chunk)
        fewer = shares[chunk] - 1
        if missed(chunk) > 1 + 1e-9 and fewer and others + ports[chunk] / fewer <= words + 1e-9:
            shares[chunk] = fewer
    return tuple(shares)


def propose(
    network: Network,
    board: Board,
    budget: Budget | None = None,
    *,
    max_chunks: int = 4,
    frames: int = 4,
    count: int = 12,
    watch: Callable[[float], None] = lambda fraction: None,
) -> Proposals:
    """The best `count` points for frames per second, best first. UserError where nothing in the space fits the board.

    `frames`: of a pass, and per weight load.
    """
    solved = solve(stage_space(network, board, max_chunks, frames), budget or Budget(), watch=watch)
    if not solved.ranked:
        raise UserError(f"no pipeline of up to {max_chunks} chunks runs network '{network.name}' on {board.name}")
    ranked = diverse(solved.ranked, count)
    points, intervals = [point for _, point in ranked], [cycles / frames for cycles, _ in ranked]
    return Proposals(points, intervals, solved.low / frames, solved.trace)


@dataclass(frozen=True)
class Solved:
    """All points found with the cycles of their frames, best first, and what none in the space undercuts."""

    ranked: list[tuple[float, Point]]
    low: float
    trace: tuple[tuple[float, float], ...]


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


def diverse(found: Sequence[tuple[float, Point]], count: int) -> list[tuple[float, Point]]:
    """The best, but no more than two with the same arrays unless others are missing."""
    ranked = sorted(found, key=lambda item: (item[0], len(item[1].chunks)))
    first: list[tuple[float, Point]] = []
    rest: list[tuple[float, Point]] = []
    seen: dict[object, int] = {}
    for item in ranked:
        arrays = tuple((c.oc, c.ic, c.px) for c in item[1].chunks)
        seen[arrays] = seen.get(arrays, 0) + 1
        (first if seen[arrays] <= 2 else rest).append(item)
    return sorted((first + rest)[:count], key=lambda item: item[0])
