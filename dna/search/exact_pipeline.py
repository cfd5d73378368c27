"""The best pipelines of chunks for a network on a board: proven within a space of stages, by the closed form.

Each chunk runs a contiguous run of the executed layers, on frames in a row; tensors between chunks, and within them,
go through memory, so that in steady state the slowest chunk decides. Beside them, one small chunk made of LUTs may
take all pooling, and another one the first layer. For an interval T every run has its smallest options (array, buffers,
share of the memory's bandwidth), and `dna.search.partition` says whether some of them cover the network within the
board. T is bisected; what no cover of runs at all can undercut is the lower bound.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
from dna.compile.lowering import lower
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.mapping_space import UNMAPPED
from dna.search.partition import COLUMNS, Cover, Needs, Options, cover, undominated
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.stages import Menu, Mode, StageTables, dsp_menu, lut_menu

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARES = (1, 2, 3, 4, 6, 8)
"""Cycles per beat that a chunk's memory port may have."""
ROUTABLE = 0.7
"""Part of a board's LUTs that may be used: a fuller one does not route."""
FEW_CHANNELS = 4
"""A first layer with at most so many input channels may have a chunk made of LUTs."""
BEAM = 48
PROOF_BEAM = 4000
FINE = 1.004
"""Ratio of two intervals that count as equal."""
STEP = 1.08


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
class _Entry:
    """An entry of a menu at a share."""

    menu: int
    share: int
    array: int
    buffers: int

    @staticmethod
    def tags(menu: int, share: int, arrays: Ints, buffers: Ints) -> Ints:
        """A number for each entry."""
        return ((menu * 64 + share) * 4096 + arrays) * 4096 + buffers

    @staticmethod
    def of(tag: int) -> _Entry:
        rest, buffers = divmod(tag, 4096)
        rest, array = divmod(rest, 4096)
        return _Entry(*divmod(rest, 64), array, buffers)


@dataclass(frozen=True)
class Limits:
    """What the chunks may use together."""

    dsp: float
    bram36: float
    lut: float
    words: float
    """Words of 16 bytes per cycle each way, of all ports."""
    chunks: int

    @staticmethod
    def of(board: Board, chunks: int) -> Limits:
        return Limits(board.dsp, board.bram36, ROUTABLE * board.lut, float(board.carried) / 16, chunks)

    def fractions(self, used: NDArray[np.int64], share: int) -> Floats:
        """`(..., 3)` counts and a share as fractions of the limits, `(..., 5)`."""
        shape = used.shape[:-1]
        rest = np.broadcast_to([1 / share / self.words, 1 / self.chunks], (*shape, 2))
        return np.concatenate([used / np.array([self.dsp, self.bram36, self.lut]), rest], axis=-1)


class _Tables:
    """Prices of all layers on both menus at all shares, as sums over prefixes."""

    def __init__(self, layers: Sequence[Layer], board: Board, limits: Limits, frames: int) -> None:
        self.layers, self.frames, self.limits = layers, frames, limits
        self.menus = (dsp_menu(layers, board.dsp), lut_menu(layers))
        self.shares = tuple(s for s in SHARES if 1 / s <= limits.words)
        modes = tuple(Mode(share, frames) for share in self.shares)
        self.prices = tuple(StageTables(menu, board.memory, modes) for menu in self.menus)
        self.fractions = [
            {share: _by_order(menu, limits.fractions(menu.used, share)) for share in self.shares} for menu in self.menus
        ]

    def cycles(self, menu: int, layer: Layer, share: int) -> Ints:
        """Cycles of `frames` frames, `(A, B)`, buffers from the smallest on."""
        table = self.prices[menu].get(layer, Mode(share, self.frames))
        return np.take_along_axis(table, self.menus[menu].order, axis=1)


def _by_order(menu: Menu, fractions: Floats) -> Floats:
    return np.take_along_axis(fractions, menu.order[:, :, None], axis=1)


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


@dataclass
class _Variant:
    """The layers in runs, and the pooling layers beside them."""

    tables: _Tables
    runs: tuple[int, ...]
    """Numbers of the layers that runs cover, in order."""
    beside: tuple[int, ...]

    @cached_property
    def sums(self) -> dict[int, Ints]:
        """By share, cycles of the first k layers on each entry of the large arrays' menu, `(n + 1, A, B)`."""
        result = {}
        for share in self.tables.shares:
            each = [self.tables.cycles(0, self.tables.layers[number], share) for number in self.runs]
            result[share] = np.concatenate([np.zeros_like(each[0])[None], np.cumsum(each, axis=0)])
        return result

    @cached_property
    def least(self) -> Floats:
        """Weighted resources times cycles that each layer takes at least, `(n + 1, W)`; last: what is beside."""
        rows = [self._least(number, (0, 1) if self._small(k, k + 1) else (0,)) for k, number in enumerate(self.runs)]
        beside = np.zeros(len(WEIGHTS))
        for number in self.beside:
            beside = beside + self._least(number, (1,))
        return np.stack([*rows, beside])

    def _least(self, number: int, menus: Sequence[int]) -> Floats:
        best = np.full(len(WEIGHTS), np.inf)
        for menu in menus:
            for share in self.tables.shares:
                cycles = self.tables.cycles(menu, self.tables.layers[number], share)
                fits = cycles < UNMAPPED
                if fits.any():
                    used = self.tables.fractions[menu][share][fits] * cycles[fits][:, None]
                    best = np.minimum(best, (used @ WEIGHTS.T).min(axis=0))
        return best

    @property
    def bound(self) -> float:
        """Cycles of all frames that nothing can undercut."""
        return float((self.least.sum(axis=0) / WEIGHTS.sum(axis=1)).max())

    def needs(self, interval: float) -> Needs:
        suffix = np.concatenate([np.cumsum(self.least[:-1][::-1], axis=0)[::-1], np.zeros((1, len(WEIGHTS)))])
        return Needs(WEIGHTS, suffix / interval)

    def _small(self, first: int, end: int) -> bool:
        """Whether a run may have a chunk made of LUTs."""
        layers = [self.tables.layers[number] for number in self.runs[first:end]]
        pools = all(not layer.has_weights for layer in layers)
        return pools or (end == 1 and layers[0].in_channels <= FEW_CHANNELS)

    def start(self, interval: float) -> Options:
        """What pooling beside takes, if any is."""
        if not self.beside:
            return Options(np.zeros((1, len(COLUMNS))), np.zeros(1, np.int64))
        parts = []
        for share in self.tables.shares:
            cycles = sum(self.tables.cycles(1, self.tables.layers[number], share) for number in self.beside)
            parts.append(self._within(1, share, np.asarray(cycles), interval))
        return _least_of(parts)

    def options(self, first: int, end: int, interval: float, needs: Needs) -> Options | None:
        parts = []
        for share in self.tables.shares:
            sums = self.sums[share]
            parts.append(self._within(0, share, sums[end] - sums[first], interval))
        none = not any(len(part.tags) for part in parts)
        if self._small(first, end):
            for share in self.tables.shares:
                each = [self.tables.cycles(1, self.tables.layers[number], share) for number in self.runs[first:end]]
                parts.append(self._within(1, share, np.sum(each, axis=0), interval))
        elif none:
            return None
        all_of = _joined(parts)
        fine = ~needs.wasteful(all_of.used, first, end)
        return _least_of([Options(all_of.used[fine], all_of.tags[fine])])

    def _within(self, menu: int, share: int, cycles: Ints, interval: float) -> Options:
        """Of each array the smallest buffers with which it keeps up."""
        fits = cycles <= interval
        arrays = np.nonzero(fits.any(axis=1))[0]
        places = fits[arrays].argmax(axis=1)
        buffers = self.tables.menus[menu].order[arrays, places]
        used = self.tables.fractions[menu][share][arrays, places]
        return Options(used, _Entry.tags(menu, share, arrays, buffers))


def _joined(parts: Sequence[Options]) -> Options:
    return Options(np.concatenate([p.used for p in parts]), np.concatenate([p.tags for p in parts]))


def _least_of(parts: Sequence[Options]) -> Options:
    """The undominated options."""
    joined = _joined(parts)
    kept, _ = undominated(joined.used, joined.used.sum(axis=1), len(joined.tags))
    return Options(joined.used[kept], joined.tags[kept])


@dataclass
class _Search:
    """The state of one `propose`."""

    tables: _Tables
    budget: Budget
    started: float = field(default_factory=time.perf_counter)
    found: dict[tuple[object, ...], tuple[float, Point]] = field(default_factory=dict)
    best: float = float("inf")
    trace: list[tuple[float, float]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return time.perf_counter() - self.started > self.budget.seconds

    def attempt(self, variant: _Variant, interval: float, beam: int) -> tuple[float, bool]:
        """Best interval among the covers within `interval` (inf: none), and whether that is a proof."""
        needs = variant.needs(interval)
        start = variant.start(interval)
        if not len(start.tags):
            return float("inf"), True
        found = cover(
            len(variant.runs),
            start,
            lambda i, j: variant.options(i, j, interval, needs),
            needs,
            beam,
            lambda: self.over,
        )
        reached = float("inf")
        for one in found.covers[:BEAM]:
            cycles, point = self._point(variant, one)
            reached = min(reached, cycles)
            self._keep(cycles, point)
        return reached, found.complete

    def _keep(self, cycles: float, point: Point) -> None:
        key = (tuple((c.oc, c.ic, c.px) for c in point.chunks), point.assignment)
        if key not in self.found or cycles < self.found[key][0]:
            self.found[key] = (cycles, point)
        if cycles < self.best:
            self.best = cycles
            self.trace.append((time.perf_counter() - self.started, cycles / self.tables.frames))

    def _point(self, variant: _Variant, one: Cover) -> tuple[float, Point]:
        tables = self.tables
        entries = [_Entry.of(step.tag) for step in one.steps]
        groups = [variant.runs[step.first : step.end] for step in one.steps]
        if variant.beside:
            entries.append(_Entry.of(one.start))
            groups.append(variant.beside)
        home = [0] * len(tables.layers)
        for number, group in enumerate(groups):
            for layer in group:
                home[layer] = number
        shares = self._shares(entries, groups)
        cycles = max(self._cycles(e, g, s) for e, g, s in zip(entries, groups, shares, strict=True))
        chunks = tuple(self._chunk(entry, group) for entry, group in zip(entries, groups, strict=True))
        return cycles, Point(chunks, tuple(shares), tuple(home), tables.frames)

    def _chunk(self, entry: _Entry, group: Sequence[int]) -> Chunk:
        chunk = self.tables.menus[entry.menu].chunk(entry.array, entry.buffers)
        needed = any(self.tables.layers[layer].residual is not None for layer in group)
        return chunk if needed else _without_residual(chunk)

    def _cycles(self, entry: _Entry, group: Sequence[int], share: int) -> float:
        prices = self.tables.prices[entry.menu]
        mode = Mode(share, self.tables.frames)
        return sum(int(prices.get(self.tables.layers[n], mode)[entry.array, entry.buffers]) for n in group)

    def _shares(self, entries: Sequence[_Entry], groups: Sequence[Sequence[int]]) -> list[int]:
        """Shares with what is left of the bandwidth given to the slowest chunk, again and again."""
        shares, fixed = [entry.share for entry in entries], [False] * len(entries)
        while not all(fixed):
            cycles = [
                -1.0 if fixed[i] else self._cycles(e, g, shares[i])
                for i, (e, g) in enumerate(zip(entries, groups, strict=True))
            ]
            slowest = int(np.argmax(cycles))
            fewer = [s for s in self.tables.shares if s < shares[slowest]]
            others = sum(1 / s for i, s in enumerate(shares) if i != slowest)
            if fewer and others + 1 / fewer[-1] <= self.tables.limits.words * (1 + 1e-9):
                shares[slowest] = fewer[-1]
            else:
                fixed[slowest] = True
        return shares


def _without_residual(chunk: Chunk) -> Chunk:
    return Chunk.from_integers({**chunk.integers, "residual": 0})


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
    layers = lower(network).layers
    tables = _Tables(layers, board, Limits.of(board, max_chunks), frames)
    search = _Search(tables, budget or Budget())
    variants = _variants(tables)
    bounds = []
    for number, variant in enumerate(variants):
        bounds.append(_bisect(search, variant))
        watch((number + 1) / len(variants))
    if not search.found:
        raise UserError(f"no pipeline of up to {max_chunks} chunks runs network '{network.name}' on {board.name}")
    ranked = _diverse(list(search.found.values()), count)
    return Proposals(
        [point for _, point in ranked],
        [cycles / frames for cycles, _ in ranked],
        min(bounds) / frames,
        tuple(search.trace),
    )


def _variants(tables: _Tables) -> list[_Variant]:
    """Pooling in the runs; maxima beside; all pooling beside."""
    kinds = [layer.op for layer in tables.layers]
    numbers = range(len(kinds))
    result: list[_Variant] = []
    for ops in ((), ("maxpool",), ("maxpool", "avgpool")):
        beside = tuple(n for n in numbers if kinds[n] in ops)
        if len(beside) < len(kinds) and beside not in [v.beside for v in result] and (beside or not ops):
            result.append(_Variant(tables, tuple(n for n in numbers if n not in beside), beside))
    return result


def _bisect(search: _Search, variant: _Variant) -> float:
    """Finds the variant's best interval, keeps points on the way; the lower bound of all frames' cycles."""
    low = variant.bound
    high, interval = float("inf"), low * STEP
    while high == float("inf") and not search.over and interval < low * 1e3:
        high, _ = search.attempt(variant, interval, BEAM)
        low, interval = (low, interval) if high < float("inf") else (low, interval * STEP)
    bottom = max(low, min(high, interval) / STEP)
    while high / bottom > FINE and not search.over:
        middle = float(np.sqrt(high * bottom))
        reached, _ = search.attempt(variant, middle, BEAM)
        if reached < float("inf"):
            high = min(high, reached)
        else:
            bottom = middle
    return low


def _diverse(found: Sequence[tuple[float, Point]], count: int) -> list[tuple[float, Point]]:
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
