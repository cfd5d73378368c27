"""Kinds of stages: how a run of layers may be carried out, with all sufficient options for an interval.

*Mixed*: one chunk, tensors in memory. *Beside*: mixed, and the run's pooling layers on a small chunk made of LUTs.
An option is the array, the smallest buffers with which it keeps up, and the share of the memory's bandwidth.
(Kinds that keep tensors on chip: `dna.search.chip_kinds`, `dna.search.split_kind`.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import Chunk
from dna.network.layer import Layer
from dna.search.menu_prices import Prices
from dna.search.partition import COLUMNS, Needs, undominated
from dna.search.run_table import Runs, RunTable
from dna.search.stages import Mode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Among = Collection[tuple[int, int]] | None
"""Runs of layers; None: all."""

FEW_CHANNELS = 4
"""A first layer with at most so many input channels may have a chunk made of LUTs."""


@dataclass(frozen=True)
class Part:
    """What a stage adds to a point."""

    chunks: tuple[Chunk, ...]
    words: tuple[float, ...]
    """Of 16 bytes per cycle that the ports of each chunk take together."""
    groups: tuple[tuple[int, ...], ...]
    """Layers of each chunk."""
    batches: tuple[tuple[int, int], ...] = ()
    """Layer and frames per weight load, where these are not all frames."""
    on_chip: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choices:
    """Options of runs: where each begins and ends, what it uses, and what it is."""

    first: Ints
    end: Ints
    used: Floats
    """`(N, 5)`."""
    payload: Ints
    """`(N, K)`: what the kind needs to know an option again."""

    @staticmethod
    def none(width: int) -> Choices:
        zero = np.zeros(0, np.int64)
        return Choices(zero, zero, np.zeros((0, len(COLUMNS))), np.zeros((0, width), np.int64))

    @staticmethod
    def joined(parts: Sequence[Choices], width: int) -> Choices:
        parts = [part for part in parts if len(part.end)] or [Choices.none(width)]
        return Choices(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Choices)))

    def by_first(self) -> dict[int, Choices]:
        """Those of the runs that begin with each layer."""
        return {int(part.first[0]): part for part in self._split(self.first)}

    def by_run(self) -> dict[tuple[int, int], Choices]:
        key = self.first * (1 + int(self.end.max(initial=0))) + self.end
        return {(int(part.first[0]), int(part.end[0])): part for part in self._split(key)}

    def _split(self, key: Ints) -> list[Choices]:
        """Those with equal keys together, lowest key first."""
        order = np.argsort(key, kind="stable")
        starts = np.nonzero(np.diff(key[order], prepend=-1))[0][1:]
        if not len(order):
            return []
        columns = [np.split(getattr(self, f.name)[order], starts) for f in fields(Choices)]
        return [Choices(*rows) for rows in zip(*columns, strict=True)]

    def least(self) -> Choices:
        """The undominated ones; all of one run."""
        kept, _ = undominated(self.used, self.used.sum(axis=1), len(self.end))
        return Choices(*(getattr(self, f.name)[kept] for f in fields(Choices)))


class Kind(Protocol):
    """A kind of stage."""

    def choices(self, interval: float, needs: Needs, among: Among = None) -> Choices:
        """All options, of all runs or of those `among` some, that keep up with `interval` cycles for all frames."""
        ...

    def least(self, layer: int, weights: Floats) -> Floats:
        """Weighted resources times cycles of all frames that a layer takes at least, `(W,)`; infinite: it cannot be."""
        ...

    def part(self, first: int, end: int, payload: Sequence[int]) -> Part: ...

    def cycles(self, first: int, end: int, payload: Sequence[int]) -> float:
        """Of all frames."""
        ...

    def quicker(self, first: int, end: int, payload: Sequence[int], words: float) -> tuple[int, ...] | None:
        """The option with the next larger share of the bandwidth, of at most `words` more per cycle; None: there is no
        such."""
        ...


@dataclass
class Mixed:
    """One chunk from a menu for a run, tensors in memory."""

    prices: Prices
    skipped: frozenset[int] = frozenset()
    """Layers that another chunk runs: they cost nothing here."""
    only: tuple[tuple[int, int], ...] | None = None
    """The runs that may have such a chunk; None: all."""

    @cached_property
    def runs(self) -> Runs:
        return Runs.all(len(self.prices.layers)) if self.only is None else Runs.of(self.only)

    def _possible(self, layer: int) -> bool:
        """Whether the chunk may run a layer."""
        inside = (self.runs.first <= layer) & (layer < self.runs.end)
        return layer not in self.skipped and bool(inside.any())

    @cached_property
    def sums(self) -> dict[int, Ints]:
        """By share, cycles of the first k layers on each entry, `(n + 1, A, B)`; none for those that it never runs."""
        result = {}
        for share in self.prices.shares:
            total = np.zeros((len(self.prices.layers) + 1, *self.prices.menu.shape), np.int64)
            for number in range(len(self.prices.layers)):
                if self._possible(number):
                    total[number + 1] = self.prices.cycles(number, Mode(share, self.prices.frames))
            result[share] = np.cumsum(total, axis=0, out=total)
        return result

    @cached_property
    def _tables(self) -> list[RunTable]:
        """Of all shares, smallest part of the bandwidth first."""
        adds = self.prices.added(self.runs)
        return [
            RunTable(self.runs, self.sums[share], self.sums[share], adds, self.prices.both_fractions(1 / share))
            for share in reversed(self.prices.shares)
        ]

    def choices(self, interval: float, needs: Needs, among: Among = None) -> Choices:
        return all_choices(self._tables, list(reversed(self.prices.shares)), interval, needs, among)

    def least(self, layer: int, weights: Floats) -> Floats:
        if not self._possible(layer):
            return np.full(len(weights), np.inf)
        modes = [(Mode(share, self.prices.frames), 1 / share) for share in self.prices.shares]
        return self.prices.least(layer, modes, weights)

    def layers(self, first: int, end: int) -> tuple[int, ...]:
        return tuple(n for n in range(first, end) if n not in self.skipped)

    def part(self, first: int, end: int, payload: Sequence[int]) -> Part:
        share, array, place = payload
        layers = self.layers(first, end)
        return Part((self.prices.menu.entry(array, place, self.prices.adds(layers)),), (1 / share,), (layers,))

    def cycles(self, first: int, end: int, payload: Sequence[int]) -> float:
        share, array, place = payload
        return float(self.sums[share][end, array, place] - self.sums[share][first, array, place])

    def quicker(self, first: int, end: int, payload: Sequence[int], words: float) -> tuple[int, ...] | None:
        share, array, place = payload
        faster = [s for s in self.prices.shares if s < share and 1 / s - 1 / share <= words + 1e-9]
        return (faster[-1], array, place) if faster else None


def all_choices(
    tables: Sequence[RunTable], tags: Sequence[int], interval: float, needs: Needs, among: Among
) -> Choices:
    """The options of one chunk for each run, (tag, array, place) their payload.

    The tables are those of one menu, smallest part of the bandwidth first: what asks for no smaller buffers than with
    less of it is left out.
    """
    found = np.full(tables[0].shape[:2], tables[0].shape[2])
    parts = []
    for tag, table in zip(tags, tables, strict=True):
        runs, arrays, places, used = table.smallest(interval, needs, among)
        fine = places < found[runs, arrays]
        runs, arrays, places = runs[fine], arrays[fine], places[fine]
        found[runs, arrays] = places
        payload = np.stack([np.full(len(runs), tag), arrays, places], axis=1)
        parts.append(Choices(table.runs.first[runs], table.runs.end[runs], used[fine], payload))
    return Choices.joined(parts, 3)


EXPOSED = 0.03
"""Part of the interval that the large chunk of a stage may wait for the small one beside it."""


@dataclass
class Beside:
    """A chunk of the large menu for a run, and one of the small menu for its layers of some operators.

    The two take turns on the frames of a pass: the large one waits for the last frame of what the small one does.
    """

    main: Mixed
    small: Mixed
    """Prices the layers that `main` skips; both for the same runs."""

    @staticmethod
    def of(large: Prices, small: Prices, beside: frozenset[int]) -> Beside:
        """With the layers `beside` on the small chunk: for the runs that have some of them, and others."""
        count = len(large.layers)
        runs = tuple(
            (first, end)
            for first in range(count)
            for end in range(first + 1, count + 1)
            if 0 < sum(n in beside for n in range(first, end)) < end - first
        )
        rest = frozenset(range(count)) - beside
        return Beside(Mixed(large, beside, runs), Mixed(small, rest, runs))

    def choices(self, interval: float, needs: Needs, among: Among = None) -> Choices:
        own, other = interval * (1 - EXPOSED), interval * min(1.0, EXPOSED * self.main.prices.frames)
        large = self.main.choices(own, needs.less(self.main.skipped), among).by_run()
        little = self.small.choices(other, needs.less(self.small.skipped), among).by_run()
        return Choices.joined(
            [self._products(large[run], little[run], needs, *run) for run in large if run in little], 6
        )

    def least(self, layer: int, weights: Floats) -> Floats:
        return np.minimum(self.main.least(layer, weights), self.small.least(layer, weights))

    @staticmethod
    def _products(large: Choices, little: Choices, needs: Needs, first: int, end: int) -> Choices:
        large, little = large.least(), little.least()
        used = (large.used[:, None] + little.used[None]).reshape(-1, len(COLUMNS))
        fine = np.nonzero(~needs.wasteful(used, first, end))[0]
        one, other = np.divmod(fine, len(little.end))
        payload = np.concatenate([large.payload[one], little.payload[other]], axis=1)
        return Choices(np.full(len(fine), first), np.full(len(fine), end), used[fine], payload)

    def part(self, first: int, end: int, payload: Sequence[int]) -> Part:
        one, other = self.main.part(first, end, payload[:3]), self.small.part(first, end, payload[3:])
        return Part(one.chunks + other.chunks, one.words + other.words, one.groups + other.groups)

    def cycles(self, first: int, end: int, payload: Sequence[int]) -> float:
        main, small = self.main.cycles(first, end, payload[:3]), self.small.cycles(first, end, payload[3:])
        return max(main + small / self.main.prices.frames, small)

    def quicker(self, first: int, end: int, payload: Sequence[int], words: float) -> tuple[int, ...] | None:
        found = self.main.quicker(first, end, payload[:3], words)
        if found is not None:
            return (*found, *payload[3:])
        found = self.small.quicker(first, end, payload[3:], words)
        return None if found is None else (*payload[:3], *found)


def small_runs(layers: Sequence[Layer]) -> tuple[tuple[int, int], ...]:
    """Runs that may be on a chunk made of LUTs: a first layer with few channels, layers without weights."""
    runs = [(0, 1)] if layers[0].in_channels <= FEW_CHANNELS else []
    for first in range(len(layers)):
        for end in range(first + 1, len(layers) + 1):
            if layers[end - 1].has_weights:
                break
            runs.append((first, end))
    return tuple(dict.fromkeys(runs))
