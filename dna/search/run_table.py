"""Cycles of runs of layers on the entries of a menu, and which of its arrays keep up with an interval.

All runs are looked at in one pass of long vectors. Searches go from longer to shorter intervals: pairs of run and array
that a longer one ruled out are not looked at again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.search.partition import Needs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FIRST_PLACES = 16
"""Choices of buffers that are looked at first; then four times as many, and so on."""
KEPT = 4
"""Intervals whose pairs are kept."""
NEAR = 1.03
"""Times the interval that an array may take with the largest buffers and still be looked at: with smaller ones it may
take less, for a larger weight buffer shows more of the next layer's weights."""


@dataclass(frozen=True)
class Runs:
    """Runs of layers, int64 `(R,)`: the first layer of each, and one past its last."""

    first: Ints
    end: Ints

    @staticmethod
    def of(pairs: Iterable[tuple[int, int]]) -> Runs:
        both = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
        return Runs(both[:, 0].copy(), both[:, 1].copy())

    @staticmethod
    def all(count: int) -> Runs:
        """Of `count` layers."""
        return Runs(*np.triu_indices(count + 1, 1))

    def __len__(self) -> int:
        return len(self.first)

    def among(self, pairs: Collection[tuple[int, int]]) -> Ints:
        """Numbers of those that are in `pairs`."""
        own = zip(self.first.tolist(), self.end.tolist(), strict=True)
        return np.array([number for number, pair in enumerate(own) if pair in pairs], dtype=np.int64)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of run and array, numbers `(P,)` each, and the place of the smallest buffers that keep up: no other pairs
    keep up with `interval` or less under `needs` or more, nor do these with smaller buffers."""

    interval: float
    needs: Needs
    runs: Ints
    arrays: Ints
    places: Ints

    def serve(self, interval: float, needs: Needs) -> bool:
        least, own = needs.suffix[0], self.needs.suffix[0]
        tighter = bool((needs.most <= self.needs.most).all() and (least >= own).all())
        return tighter and interval <= self.interval


@dataclass
class RunTable:
    """Cycles of runs on a menu: `tail[end] - head[first]`, int64 `(n + 1, A, B)` both, buffers from the smallest on.

    `adds` `(R,)`: whether a run adds a residual. `use`: of the entries without and with that, `(2, A, B, 5)`.
    """

    runs: Runs
    head: Ints
    tail: Ints
    adds: Bools
    use: Floats
    _pairs: list[_Pairs] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Runs, arrays and choices of buffers."""
        return len(self.runs), *self.head.shape[1:]

    def smallest(
        self, interval: float, needs: Needs, among: Collection[tuple[int, int]] | None = None
    ) -> tuple[Ints, Ints, Ints, Floats]:
        """Of each run and array the smallest buffers that keep up: number of the run, array, place of the buffers and
        what it uses; less what wastes too much. `among`: which runs; None: all."""
        if among is not None:
            runs, arrays, places = self._quick(self.runs.among(among), interval, needs)
        else:
            runs, arrays, places = self._possible(interval, needs)
        places = self._first_within(runs, arrays, places, interval)
        fine = places >= 0
        runs, arrays, places = runs[fine], arrays[fine], places[fine]
        if among is None:
            self._pairs = [*self._pairs[1 - KEPT :], _Pairs(interval, needs, runs, arrays, places)]
        used = self.use[self._adding[runs], arrays, places]
        fine = self._fine(runs, used, needs)
        return runs[fine], arrays[fine], places[fine], used[fine]

    def _possible(self, interval: float, needs: Needs) -> tuple[Ints, Ints, Ints]:
        """Pairs that keep up with the largest buffers, nearly, and do not waste too much whatever the buffers; and
        the first place that may do for each."""
        known = [pairs for pairs in self._pairs if pairs.serve(interval, needs)]
        if not known:
            return self._quick(np.arange(len(self.runs)), interval, needs)
        least = min(known, key=lambda pairs: len(pairs.runs))
        fine = self._cycles(least.runs, least.arrays, -1) <= NEAR * interval
        return least.runs[fine], least.arrays[fine], least.places[fine]

    def _quick(self, numbers: Ints, interval: float, needs: Needs) -> tuple[Ints, Ints, Ints]:
        """The same of some runs, none of which is known."""
        tail, head = (np.ascontiguousarray(table[:, :, -1]) for table in (self.tail, self.head))
        first, end = self.runs.first[numbers], self.runs.end[numbers]
        fine = tail[end] - head[first] <= NEAR * interval
        # All runs share the arrays' uses: one weight after the other is cheaper than `wasteful` for each pair.
        weighted, most = self.use.min(axis=2) @ needs.weights.T, needs.most_of(first, end)
        for number in range(len(needs.weights)):
            fine &= weighted[self._adding[numbers], :, number] <= most[:, number, None]
        rows, arrays = np.nonzero(fine)
        return numbers[rows], arrays, np.zeros_like(rows)

    def _cycles(self, runs: Ints, arrays: Ints, places: Ints | int | slice) -> Ints:
        found: Ints = self.tail[self.runs.end[runs], arrays, places] - self.head[self.runs.first[runs], arrays, places]
        return found

    def _first_within(self, runs: Ints, arrays: Ints, start: Ints, interval: float) -> Ints:
        """The first place of each pair that keeps up, and none before `start` does; -1 where none does."""
        places = np.where(self._cycles(runs, arrays, start) <= interval, start, -1)
        left, begin, end = np.nonzero(places < 0)[0], 0, FIRST_PLACES
        while len(left) and begin < self.shape[2]:
            hits = self._cycles(runs[left], arrays[left], slice(begin, end)) <= interval
            some = hits.any(axis=1)
            places[left[some]] = begin + hits[some].argmax(axis=1)
            left, begin, end = left[~some], end, 4 * end
        return places

    def _fine(self, runs: Ints, used: Floats, needs: Needs) -> Bools:
        """Which of the pairs do not waste too much."""
        most = needs.most_of(self.runs.first, self.runs.end).T
        fine = np.ones(len(runs), dtype=bool)
        for weights, of_run in zip(needs.weights, most, strict=True):
            fine &= used @ weights <= of_run[runs]
        return fine

    @cached_property
    def _adding(self) -> Ints:
        return self.adds.astype(np.int64)
