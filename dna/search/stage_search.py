"""Pipelines of stages for an interval, or for a part of the hardware: bisection over what `partition` covers.

A `StageSpace` is a network's layers and the kinds of stages that may run them. For an interval T every run has its
smallest options, and a cover is a design within the board. Lower bounds come from covers that are proven not to exist
and, before any is looked for, from what layers take of weighted resources, whatever the stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.search.menu_prices import ROUTABLE
from dna.search.partition import Cover, Needs, Options, Step, cover
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.stage_kinds import Among, Choices, Kind
from dna.search.stage_points import point_of

Floats = NDArray[np.float64]

BEAMS = (1000, 4000)
"""States per prefix: while good points are looked for, and for the proof that there are no better ones."""
KEPT = 16
"""Covers of an interval that become points."""
FINE = 1.005
"""Ratio of two intervals that count as equal."""
BELOW = 1 - 1e-9
"""Part of an interval that counts as less."""
STEP = 1.08
"""Ratio of the intervals tried until one has a cover."""
FINE_HARDWARE = 1.02
"""The same of the hardware."""
RESERVES = (1.0, 0.94, 0.86)
"""Parts of the interval asked for, in which the least hardware is looked for."""
FEWER = (1, 2)
"""Numbers of chunks of which points are among the proposals even where more chunks are better."""
FEWER_SLOWER, FEWER_BEAM = (1.04, 1.2), 48
"""By how much these may be slower, and states per prefix while they are looked for."""
LOOSE = 1.03
"""Ratio of best and bound from which on shorter intervals are looked at where the best one is not proven."""
MOST = 1000
"""Ratio to the bound of the last interval tried."""
WEIGHTS = np.array(
    [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [1, 0, 1, 0, 0],
        [0.4, 0, 0.6, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 0.5, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 0, 0, 0, 1],
        [1 / 3, 1 / 3, ROUTABLE / 3, 0, 0],
    ],
    dtype=np.float64,
)
"""Weights of the resources, in fractions of what there is, of the lower bounds; the last ones are "hardware"."""


@dataclass(frozen=True)
class StageSpace:
    """All pipelines of stages of some kinds for `count` layers."""

    count: int
    frames: int
    """Of a pass: intervals are for all of them."""
    words: float
    """Words per cycle that the ports of all stages may take together."""
    chunks: int
    """Most chunks."""
    floor: float
    """Cycles that nothing undercuts, known without a price."""
    kinds: tuple[Kind, ...]

    @cached_property
    def least(self) -> Floats:
        """Weighted resources times cycles of all frames that each layer takes at least, `(count, W)`."""
        rows = [[kind.least(number, WEIGHTS) for kind in self.kinds] for number in range(self.count)]
        result: Floats = np.array(rows).min(axis=1)
        return result

    def priced(self, stop: Callable[[], bool]) -> bool:
        """Prices all layers of all kinds, unless it is told to stop; whether it did."""
        for number in range(self.count):
            for kind in self.kinds:
                if stop():
                    return False
                kind.least(number, WEIGHTS)
        return True

    @property
    def simple(self) -> StageSpace:
        """Only the first kind: a small part of the space, and of the time to price it."""
        return replace(self, kinds=self.kinds[:1])

    @property
    def bound(self) -> float:
        """Cycles of all frames that no cover undercuts."""
        return float((self.least.sum(axis=0) / WEIGHTS.sum(axis=1)).max())

    def needs(self, interval: float, hardware: float = 1.0, chunks: float = 1.0) -> Needs:
        """Of covers within an interval that take at most such parts of the hardware and of the chunks."""
        most = WEIGHTS.sum(axis=1)
        most[-1], most[-2] = min(most[-1], hardware), chunks
        return Needs.of(WEIGHTS, self.least / interval, most)


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
    runs: frozenset[tuple[int, int]] = frozenset()
    """Those of the covers that the last attempt with all runs found."""

    @property
    def over(self) -> bool:
        return time.perf_counter() - self.started > self.budget.seconds

    def attempt(
        self, interval: float, beam: int, hardware: float = 1.0, chunks: float = 1.0, among: Among = None
    ) -> bool:
        """Keeps the covers within `interval` and such parts of hardware and chunks; whether there are no others, of
        runs `among` some."""
        self.options = []
        needs = self.space.needs(interval, hardware, chunks)
        each: list[dict[int, Choices]] = []
        for kind in self.space.kinds:
            if self.over and self.found:
                return False
            each.append(kind.choices(interval, needs, among).by_first())
        found = cover(
            self.space.count,
            lambda first: self._stages({k: own[first] for k, own in enumerate(each) if first in own}),
            needs,
            beam,
            lambda: self.over and bool(self.found),
        )
        if found.covers and among is None:
            self.runs = frozenset((step.first, step.end) for one in found.covers for step in one.steps)
        for one in found.covers[:KEPT]:
            cycles, point = self._point(one)
            self.hardware[point] = float(one.used @ WEIGHTS[-1])
            self._keep(cycles, point)
        return found.complete

    def _stages(self, own: Mapping[int, Choices]) -> Mapping[int, Options]:
        """By end, the undominated ones of the options that each kind has for runs with one first layer; each is kept in
        `options`, its tag the number."""
        numbered = [
            replace(c, payload=np.stack([np.full(len(c.end), kind), np.arange(len(c.end))], axis=1))
            for kind, c in own.items()
        ]
        runs = Choices.joined(numbered, 2).by_run()
        return {end: self._kept(each.least(), own) for (_, end), each in runs.items()}

    def _kept(self, least: Choices, own: Mapping[int, Choices]) -> Options:
        """Options whose payloads are a kind and a row of its choices."""
        tags = np.arange(len(least.end)) + len(self.options)
        for kind, row in least.payload.tolist():
            self.options.append(_Option(kind, tuple(own[kind].payload[row].tolist())))
        return Options(least.used, tags)

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
    search = _Search(space.simple, budget)
    if len(space.kinds) > 1:
        _first(search, space.simple.bound)
    watch(0.2)
    if not space.priced(lambda: search.over and bool(search.found)):
        return Solved(_ranked(search), space.floor, tuple(search.trace))
    search.space = space
    bottom = low = space.bound
    watch(0.4)
    if not search.found:
        bottom, low = _first(search, low)
    low = max(low, _narrowed(search, bottom, fine))
    for number, beam in enumerate(BEAMS[1:]):
        watch(0.4 + 0.6 * (number + 1) / len(BEAMS))
        low = _proven(search, low, fine, beam)
    watch(1.0)
    for chunks in FEWER:
        _fewer(search, chunks)
    # A cover may take less than the interval that it was found for.
    return Solved(_ranked(search), min(low, search.best), tuple(search.trace))


def _ranked(search: _Search) -> list[tuple[float, Point]]:
    return sorted(search.found.values(), key=lambda item: item[0])


def _first(search: _Search, low: float) -> tuple[float, float]:
    """Longer and longer intervals until one has a cover: the last one without, and what is proven to have none."""
    bottom, interval, most = low, low * STEP, low * MOST
    while not search.found and interval < most:
        proven = search.attempt(interval, BEAMS[0])
        if not search.found:
            low = interval if proven else low
            bottom, interval = interval, interval * STEP
    return bottom, low


def _fewer(search: _Search, chunks: int) -> None:
    """Looks for points with so few chunks, one or two, too: the exact schedule may think better of them."""
    best, count = search.best, search.space.count
    runs = {(0, end) for end in range(1, count + 1)} | {(first, count) for first in range(count)}
    among = runs if chunks > 1 else {(0, count)}
    for slower in FEWER_SLOWER:
        known = len(search.found)
        if search.over:
            return
        search.attempt(slower * best, FEWER_BEAM, chunks=chunks / search.space.chunks + 1e-6, among=among)
        if len(search.found) > known:
            return


def _narrowed(search: _Search, bottom: float, fine: float) -> float:
    """Shorter and shorter intervals until one has no cover; what is proven to be out of reach.

    The best of the runs that are known is hard to beat: so at first only little less is asked for. What turns out to be
    far from the best comes down fast.
    """
    low, step = 0.0, max(fine, FINE)
    while search.best / bottom > max(fine, FINE) and not search.over and search.best < float("inf"):
        _polished(search, bottom)
        before = search.best
        middle = max(before / step, float(np.sqrt(before * bottom)))
        proven = search.attempt(middle, BEAMS[0])
        if search.best == before:
            bottom, low, step = middle, middle if proven else low, max(fine, FINE)
        else:
            step = step * step
    return low


def _polished(search: _Search, bottom: float) -> None:
    """Bisects with the runs of the covers that are known, and no others: that takes next to no time."""
    while search.best / bottom > FINE and not search.over:
        before, middle = search.best, float(np.sqrt(search.best * bottom))
        search.attempt(middle, BEAMS[0], among=search.runs)
        if search.best == before:
            bottom = middle


def _proven(search: _Search, low: float, fine: float, beam: int) -> float:
    """Looks for anything better than the best, with more states; what is proven to be out of reach, `low` at least."""
    while search.best / low > fine and not search.over:
        before = search.best
        if search.attempt(before * BELOW, beam):
            low = before
        elif search.best == before:
            break
    top = search.best
    while top / low > LOOSE and not search.over:
        middle = float(np.sqrt(top * low))
        if search.attempt(middle, beam):
            low = middle
        else:
            top = min(middle, search.best)
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
