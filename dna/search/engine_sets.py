"""Engines for a set of layers, any layer on any engine: the least interval for a number of multipliers, proven.

Layers are kinds with a number of equal copies (the halves of a grouped convolution). An engine's load is how many
copies of each kind it has; its cycles are the sum over them, or less where all copies of a kind go as one layer. The
interval is that of the busiest engine. At a given interval each load has a cheapest engine, and a dynamic programme
over loads says how few multipliers suffice; the interval is found by bisection among all cycle counts that any load has
on any engine, so the result is the optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.accelerator import tile
from dna.accelerator.chunk import INPUT_CHANNELS, MAX_LANES, MAX_OUTPUT_CHANNELS, POST_LANES
from dna.errors import UserError
from dna.search.published import Convolution, Engine

Ints = NDArray[np.int64]
Joined = Collection[str]
NEVER = 1 << 40
"""Multipliers, or cycles, of what is impossible."""
OUTPUT_CHANNELS = (2, 4, 8, *range(16, MAX_OUTPUT_CHANNELS + 1, 16))
"""What a `Chunk` may have."""


@dataclass(frozen=True, eq=False)
class Engines:
    """E engines to choose from and what each of K kinds of layers takes on them."""

    sizes: Ints
    """`(E, 2)`: oc, ic; or `(E, 3)`: oc, ic, px."""
    cycles: Ints
    """`(E, K)`: compute cycles of one copy."""
    whole: Ints
    """`(E, K)`: compute cycles of all copies on one engine."""

    @cached_property
    def multipliers(self) -> Ints:
        """`(E,)`."""
        return np.asarray(self.sizes.prod(axis=1), dtype=np.int64)

    def useful(self, most: int) -> Engines:
        """The engines of at most so many multipliers, of those with equal cycles the smallest, smallest first."""
        order = np.argsort(self.multipliers, kind="stable")
        order = order[self.multipliers[order] <= most]
        both = np.concatenate([self.cycles, self.whole], axis=1)[order]
        kept = order[np.sort(np.unique(both, axis=0, return_index=True)[1])]
        return Engines(self.sizes[kept], self.cycles[kept], self.whole[kept])


@dataclass(frozen=True)
class Used:
    """An engine of a solution."""

    sizes: tuple[int, ...]
    load: tuple[int, ...]
    """Copies of each kind."""
    cycles: int

    @property
    def multipliers(self) -> int:
        return int(np.prod(self.sizes))


@dataclass(frozen=True)
class Solution:
    interval: int
    """Least cycles from image to image; no choice of engines and loads has fewer."""
    engines: tuple[Used, ...]

    @property
    def multipliers(self) -> int:
        return sum(engine.multipliers for engine in self.engines)


# ---------------------------------------------------------------- spaces


def published_engines(kinds: Sequence[Convolution], copies: Sequence[int], most: int, joined: Joined = ()) -> Engines:
    """`oc x ic` of any sizes up to `most` multipliers, one pixel after the other, as FPGA'15 and ISCA'17 count.

    `joined`: names of kinds whose copies have the same inputs, so that they are one layer where one engine has all.
    """
    sizes = [(tm, tn) for tm in range(1, most + 1) for tn in range(1, most // tm + 1)]
    return _engines(kinds, copies, sizes, joined, published_cycles)


def own_engines(kinds: Sequence[Convolution], copies: Sequence[int], most: int, joined: Joined = ()) -> Engines:
    """`oc x ic x px` as a `Chunk` may have it, up to `most` multipliers; else as `published_engines`."""
    sizes = [
        (oc, ic, px)
        for oc in OUTPUT_CHANNELS
        for ic in INPUT_CHANNELS
        if oc * ic % tile.WORD == 0
        for px in range(1, min(MAX_LANES, most // (oc * ic)) + 1)
    ]
    return _engines(kinds, copies, sizes, joined, own_cycles)


def _engines(
    kinds: Sequence[Convolution],
    copies: Sequence[int],
    sizes: Sequence[tuple[int, ...]],
    joined: Joined,
    cycles: Callable[..., int],
) -> Engines:
    one = np.array([[cycles(kind, *size) for kind in kinds] for size in sizes], dtype=np.int64)
    whole = one * np.array(copies)
    for column, (kind, count) in enumerate(zip(kinds, copies, strict=True)):
        if kind.name in joined:
            layer = replace(kind, out_channels=count * kind.out_channels)
            whole[:, column] = np.minimum(whole[:, column], [cycles(layer, *size) for size in sizes])
    return Engines(np.array(sizes, dtype=np.int64), one, whole)


def published_cycles(kind: Convolution, oc: int, ic: int) -> int:
    """Cycles of a layer on a published `oc x ic` engine."""
    return Engine(oc, ic).cycles(kind)


def own_cycles(kind: Convolution, oc: int, ic: int, px: int) -> int:
    """Array cycles of a layer on a chunk, output-stationary, with the best split of the lanes over rows and columns."""
    mac = tile.mac_cycles(kind.kernel, kind.kernel, tile.steps(kind.in_channels, ic, 0))
    return array_cycles(kind.out_channels, kind.rows, kind.cols, int(mac), oc, px)


def array_cycles(channels: int, rows: int, cols: int, mac: int, oc: int, px: int) -> int:
    """Array cycles of `rows x cols` pixels of `channels` outputs, `mac` cycles each, with the widest legal post lanes.

    One tile for the whole map: smaller ones never take fewer. Where the post lanes are slower, the array waits.
    """
    post_lanes = max(lanes for lanes in POST_LANES if oc % lanes == 0)
    groups = tile.output_groups(channels, oc, 0)
    best = NEVER
    for lanes_y in range(1, min(px, rows) + 1):
        for lanes_x in range(1, min(px // lanes_y, cols) + 1):
            post = tile.post_cycles(lanes_y * lanes_x, tile.post_slices(oc, post_lanes, 0))
            lane_rows, lane_cols = tile.ceil_div(rows, lanes_y), tile.ceil_div(cols, lanes_x)
            taken = tile.compute_cycles(groups, lane_rows, lane_cols, mac, tile.idle_cycles(post, mac, 0))
            best = min(best, int(taken))
    return best


# ---------------------------------------------------------------- the solver


def solve(engines: Engines, copies: Sequence[int], most: int, most_engines: int | None = None) -> Solution:
    """The least interval with at most `most` multipliers in all, and at most `most_engines` engines if given.

    `copies`: of each kind. Of the choices with that interval, one with the fewest engines, and of these the fewest
    multipliers. UserError if there is none.
    """
    search = _Search(engines.useful(most), tuple(copies), most_engines or sum(copies))
    if not len(search.engines.sizes):
        raise UserError(f"no engine has at most {most} multipliers")
    intervals = np.unique(search.cycles)
    low, high = 0, len(intervals) - 1
    while low < high:
        middle = (low + high) // 2
        if search.fewest(int(intervals[middle])) <= most:
            high = middle
        else:
            low = middle + 1
    return Solution(int(intervals[low]), search.chosen(int(intervals[low]), most))


def floor(kinds: Sequence[Convolution], copies: Sequence[int], most: int) -> float:
    """Cycles if every multiplier worked in every cycle."""
    return sum(count * kind.macs for kind, count in zip(kinds, copies, strict=True)) / most


class _Search:
    """The dynamic programme over loads, which are numbered in mixed radix: `copies + 1` values per kind."""

    def __init__(self, engines: Engines, copies: tuple[int, ...], most_engines: int) -> None:
        self.engines, self.most_engines = engines, most_engines
        self.loads = np.array(list(np.ndindex(*(count + 1 for count in copies))), dtype=np.int64)
        all_there = self.loads[1:] == np.array(copies)
        parts = np.where(all_there, 0, self.loads[1:])
        self.cycles = parts @ engines.cycles.T + all_there.astype(np.int64) @ engines.whole.T
        """`(loads - 1, E)`: of every load but the empty one."""
        self.parts = [self._parts(load) for load in self.loads]
        """By load: see `_parts`."""

    def _parts(self, load: Ints) -> tuple[Ints, Ints]:
        """Numbers of the parts of a load that one engine may take, and of what then is left.

        Engines have no order, so the part has a copy of the first kind that is there.
        """
        below = (self.loads <= load).all(axis=1)
        if load.any():
            below &= self.loads[:, int(np.flatnonzero(load)[0])] > 0
        part = np.flatnonzero(below)
        radix = np.append(np.cumprod((self.loads[-1] + 1)[:0:-1])[::-1], 1)
        return part, (load - self.loads[part]) @ radix

    def fewest(self, interval: int) -> int:
        """Multipliers that suffice for the interval."""
        return int(self._table(interval)[0][-1][-1])

    def _table(self, interval: int) -> tuple[list[Ints], Ints, Ints]:
        """Multipliers by number of engines and load; the cheapest engine's multipliers and number by load."""
        fits = np.where(self.cycles <= interval, self.engines.multipliers, NEVER)
        cheapest = np.append(0, fits.argmin(axis=1))
        single = np.append(NEVER, fits.min(axis=1))
        tables = [np.append(0, np.full(len(self.loads) - 1, NEVER))]
        for _ in range(self.most_engines):
            before = tables[-1]
            rows = (int((single[part] + before[left]).min()) for part, left in self.parts[1:])
            tables.append(np.array([0, *rows]))
        return tables, single, cheapest

    def chosen(self, interval: int, most: int) -> tuple[Used, ...]:
        """The fewest engines that fit, with the fewest multipliers; those with most multipliers first."""
        tables, single, cheapest = self._table(interval)
        number = next(count for count, table in enumerate(tables) if table[-1] <= most)
        load, found = len(self.loads) - 1, []
        while load:
            part, left = self.parts[load]
            taken = int((single[part] + tables[number - 1][left]).argmin())
            row, engine = int(part[taken]), int(cheapest[part[taken]])
            sizes = tuple(int(size) for size in self.engines.sizes[engine])
            copies = tuple(int(count) for count in self.loads[row])
            found.append(Used(sizes, copies, int(self.cycles[row - 1, engine])))
            load, number = int(left[taken]), number - 1
        return tuple(sorted(found, key=lambda used: -used.multipliers))
