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
from typing import Any

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
    MAIN_SPLITS,
    SPLITS,
    OnChip,
    Split,
    Tensors,
    point_share,
)
from dna.search.partition import Cover, Needs, Options, Step, cover
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.stage_kinds import Beside, Choices, Kind, Limits, Mixed, Part, Prices, small_runs
from dna.search.stages import Mode, dsp_menu, lut_menu

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BEAM = 48
"""States per prefix while good points are looked for."""
KEPT = 16
"""Covers of an interval that become points."""
FINE = 1.004
"""Ratio of two intervals that count as equal."""
STEP = 1.08
"""Ratio of the intervals tried until one has a cover."""
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


@dataclass
class StageSpace:
    """All stages of a network on a board: kinds with their prices."""

    layers: tuple[Layer, ...]
    board: Board
    limits: Limits
    frames: int
    able: frozenset[str]
    """Tensors that may be handed over on chip."""

    @cached_property
    def large(self) -> Prices:
        menu = dsp_menu(self.layers, self.board.dsp)
        return Prices.of(self.layers, menu, self.board, self.limits, self.frames)

    @cached_property
    def small(self) -> Prices:
        return Prices.of(self.layers, lut_menu(self.layers), self.board, self.limits, self.frames)

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        runs = small_runs(self.layers)
        found: list[Kind] = [Mixed(self.large), Mixed(self.small, only=runs)]
        groups: list[frozenset[int]] = []
        for ops in (("maxpool",), ("maxpool", "avgpool")):
            beside = frozenset(n for n, layer in enumerate(self.layers) if layer.op in ops)
            if beside and beside not in groups and len(beside) < len(self.layers):
                groups.append(beside)
        every = frozenset(range(len(self.layers)))
        for beside in groups:
            found.append(Beside(Mixed(self.large, beside), Mixed(self.small, every - beside)))
        tensors = Tensors(self.layers, self.able)
        found += [OnChip(self.chip, tensors, words) for words in LINKS]
        if any(layer.op == "depthwise" for layer in self.layers):
            found.append(Split(self.main, self.side, tensors))
        return tuple(found)

    def _menu(self, **given: Any) -> Prices:
        menu = dsp_menu(self.layers, self.board.dsp, ports=2, **given)
        return Prices.of(self.layers, menu, self.board, self.limits, self.frames, modes=False)

    @cached_property
    def chip(self) -> Prices:
        """Arrays with links to themselves."""
        return self._menu(levels=CHIP_LEVELS)

    @cached_property
    def main(self) -> Prices:
        """Arrays beside one for depthwise layers."""
        return self._menu(levels=MAIN_LEVELS)

    @cached_property
    def side(self) -> Prices:
        return self._menu(levels=DEPTHWISE_LEVELS, depthwise=True)

    @cached_property
    def least(self) -> Floats:
        """Weighted resources times cycles of all frames that each layer takes at least, `(n, W)`."""
        rows = []
        for number, layer in enumerate(self.layers):
            modes = [(Mode(share, self.frames), 1 / share) for share in self.large.shares]
            row = self.large.least_times(number, modes, WEIGHTS)
            if not layer.has_weights or (number, number + 1) in small_runs(self.layers):
                row = np.minimum(row, self.small.least_times(number, modes, WEIGHTS))
            rows.append(np.minimum(row, self._least_on_chip(number)))
        return np.stack(rows)

    def _least_on_chip(self, number: int) -> Floats:
        """As `least`, on chunks with links: weights as fast as may be, for the least bandwidth."""
        row = np.full(len(WEIGHTS), np.inf)
        slowest = 2 / max(point_share(split) for split in (*SPLITS, *MAIN_SPLITS))
        for kind in self.kinds:
            if isinstance(kind, OnChip):
                mode = Mode(min(s for s, _ in SPLITS), kind.batches[number], chip_in=True, chip_out=True)
                row = np.minimum(row, self.chip.least_times(number, [(mode, slowest)], WEIGHTS))
            elif isinstance(kind, Split):
                row = np.minimum(row, kind.least_times(number, slowest, WEIGHTS))
        return row

    @property
    def bound(self) -> float:
        """Cycles of all frames that no cover undercuts."""
        return float((self.least.sum(axis=0) / WEIGHTS.sum(axis=1)).max())

    def needs(self, interval: float) -> Needs:
        return Needs.of(WEIGHTS, self.least / interval)


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

    def attempt(self, interval: float, beam: int) -> tuple[float, bool]:
        """Best interval among the covers within `interval` (inf: none), and whether that is a proof."""
        self.options = []
        needs = self.space.needs(interval)
        found = cover(
            len(self.space.layers),
            lambda first: self._stages(first, interval, needs),
            needs,
            beam,
            lambda: self.over,
        )
        reached = float("inf")
        for one in found.covers[:KEPT]:
            cycles, point = self._point(one)
            reached = min(reached, cycles)
            self._keep(cycles, point)
        return reached, found.complete

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
        return max(self._cycles(steps, options)), point_of(parts, len(self.space.layers), self.space.frames)

    def _cycles(self, steps: Sequence[Step], options: Sequence[_Option]) -> list[float]:
        kinds = self.space.kinds
        return [kinds[o.kind].cycles(s.first, s.end, o.payload) for s, o in zip(steps, options, strict=True)]

    def _spend(self, steps: Sequence[Step], options: list[_Option], used: float) -> None:
        """Gives what is left of the bandwidth to the slowest stage, again and again."""
        words = self.space.limits.words
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
            used += (_words(kind.part(step.first, step.end, payload)) - _words(before)) / words


def _words(part: Part) -> float:
    """Words per cycle of a part's ports."""
    return sum(chunk.ports / share for chunk, share in zip(part.chunks, part.shares, strict=True))


def point_of(parts: Sequence[Part], layers: int, frames: int) -> Point:
    """The parts' chunks, one after the other."""
    home, batches = [0] * layers, [frames] * layers
    number = 0
    for part in parts:
        for group in part.groups:
            for layer in group:
                home[layer] = number
            number += 1
        for layer, batch in part.batches:
            batches[layer] = batch
    return Point(
        tuple(chunk for part in parts for chunk in part.chunks),
        tuple(share for part in parts for share in part.shares),
        tuple(home),
        frames,
        tuple(batches) if set(batches) != {frames} else (),
        frozenset().union(*(part.on_chip for part in parts)),
    )


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
    lowered = lower(network)
    able = frozenset(layer.name for layer in lowered.layers) - set(lowered.places) - {lowered.output}
    space = StageSpace(lowered.layers, board, Limits.of(board, max_chunks), frames, able)
    search = _Search(space, budget or Budget())
    low = _bisect(search, watch)
    if not search.found:
        raise UserError(f"no pipeline of up to {max_chunks} chunks runs network '{network.name}' on {board.name}")
    ranked = diverse(list(search.found.values()), count)
    points, intervals = [point for _, point in ranked], [cycles / frames for cycles, _ in ranked]
    return Proposals(points, intervals, low / frames, tuple(search.trace))


def _bisect(search: _Search, watch: Callable[[float], None]) -> float:
    """Finds the best interval, keeps points on the way; the lower bound of all frames' cycles."""
    bottom = low = search.space.bound
    watch(0.3)
    high, interval = float("inf"), low * STEP
    while high == float("inf") and not search.over and interval < low * 1e3:
        high, proven = search.attempt(interval, BEAM)
        if high == float("inf"):
            low = interval if proven else low
            bottom, interval = interval, interval * STEP
    watch(0.6)
    while high / bottom > FINE and not search.over:
        middle = float(np.sqrt(high * bottom))
        reached, proven = search.attempt(middle, BEAM)
        if reached < float("inf"):
            high = min(high, reached)
        else:
            bottom = middle
            low = middle if proven else low
    watch(1.0)
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
