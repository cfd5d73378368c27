"""Runs of layers onto chunks: a dynamic programme over prefixes that keeps what no other state undercuts.

A state is what the chunks of a prefix use together. It is dropped if another state of the same prefix uses no more
of anything, or if what is left cannot suffice for the layers that remain: for weights of the resources, a chunk of
weighted size r that spends c of T cycles on a layer takes at least its part r * c / T, summed over the layers left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLUMNS = ("dsp", "bram36", "lut", "bandwidth", "chunks")
"""What options and states use, as fractions of what there is."""
ROOM = 1 + 1e-9
TIE = 1e-12
"""Difference that does not count."""
FIRST_BLOCK, LAST_BLOCK = 16, 64
"""Rows compared with each other at once: few at first, for they rule out most of the others."""


@dataclass(frozen=True)
class Options:
    """Ways to run a stage within an interval: `used` `(N, 5)`, and what to remember of each, `(N,)`."""

    used: Floats
    tags: Ints


@dataclass(frozen=True)
class Step:
    """A stage of a solution: its first layer, one past its last, and the tag of its option."""

    first: int
    end: int
    tag: int


@dataclass(frozen=True)
class Cover:
    """A solution: its stages in order, and what it uses."""

    steps: tuple[Step, ...]
    used: Floats


@dataclass(frozen=True)
class Found:
    """Covers, least used first; `complete` unless states were dropped that could have led to others."""

    covers: tuple[Cover, ...]
    complete: bool


@dataclass(frozen=True)
class Needs:
    """Lower bounds: `weights` `(W, 5)`, `suffix` `(n + 1, W)`, what the layers from each one on take at least, `most`
    `(W,)`, what all may take, and `slack` `(W,)`, what may be wasted of it."""

    weights: Floats
    suffix: Floats
    most: Floats
    slack: Floats

    @staticmethod
    def of(weights: Floats, least: Floats, most: Floats) -> Needs:
        """`least` `(n, W)`: what each layer takes at least."""
        suffix = np.concatenate([np.cumsum(least[::-1], axis=0)[::-1], np.zeros((1, len(weights)))])
        return Needs(weights, suffix, most * ROOM, most * ROOM - suffix[0])

    def less(self, layers: Collection[int]) -> Needs:
        """Where these layers are another chunk's: they need nothing, and what may be wasted is the same."""
        least = -np.diff(self.suffix, axis=0)
        least[list(layers)] = 0
        return replace(Needs.of(self.weights, least, self.most), most=self.most, slack=self.slack)

    def most_of(self, first: int | Ints, end: int | Ints) -> Floats:
        """The most that stages may use, weighted, `(N, W)`: no cover within the limits has one with more."""
        most: Floats = np.atleast_2d(self.slack + self.suffix[first] - self.suffix[end])
        return most

    def wasteful(self, used: Floats, first: int | Ints, end: int | Ints) -> NDArray[np.bool_]:
        """Whether a stage's options, `(N, 5)`, use more than that."""
        above: NDArray[np.bool_] = self.weights @ used.T > self.most_of(first, end).T
        return np.asarray(above.any(axis=0))

    def hopeless(self, used: Floats, end: int) -> NDArray[np.bool_]:
        """Whether states of a prefix leave too little for the rest."""
        spare = self.most - self.suffix[end]
        result: NDArray[np.bool_] = (self.weights @ used.T > spare[:, None]).any(axis=0)
        result |= (used.T > ROOM).any(axis=0)
        return result


@dataclass
class _Front:
    used: Floats
    before: Ints
    """Number of the state it came from, in the front of layer `first`."""
    first: Ints
    tags: Ints


def cover(
    count: int,
    options: Callable[[int], Mapping[int, Options]],
    needs: Needs,
    beam: int,
    stop: Callable[[], bool] = lambda: False,
) -> Found:
    """All undominated ways to cover layers 0 to `count` by stages, at most `beam` states per prefix.

    `options(first)`: by end, those of the stages that begin with a layer.
    """
    zero = np.zeros(1, np.int64)
    table: list[_Front | None] = [_Front(np.zeros((1, len(COLUMNS))), zero, zero, zero)]
    waiting: list[list[_Front]] = [[] for _ in range(count + 1)]
    complete = True
    for first in range(count):
        if first:
            front, whole = _merged(waiting[first], needs, first, beam)
            complete &= whole
            table.append(front)
            waiting[first] = []
        here = table[first]
        if here is None:
            continue
        if stop():
            return Found((), False)
        for end, found in options(first).items():
            waiting[end].append(_joined(here, found, needs, first, end))
    front, whole = _merged(waiting[count], needs, count, beam)
    table.append(front)
    covers = () if front is None else tuple(_trace(table, count, state) for state in range(len(front.used)))
    return Found(covers, complete and whole)


def _joined(here: _Front, found: Options, needs: Needs, first: int, end: int) -> _Front:
    """Every state with every option, less the hopeless."""
    used = (here.used[:, None] + found.used[None]).reshape(-1, len(COLUMNS))
    alive = np.nonzero(~needs.hopeless(used, end))[0]
    state, option = np.divmod(alive, len(found.tags))
    return _Front(used[alive], state, np.full(len(alive), first), found.tags[option])


def _merged(parts: list[_Front], needs: Needs, end: int, beam: int) -> tuple[_Front | None, bool]:
    parts = [part for part in parts if len(part.used)]
    if not parts:
        return None, True
    used = np.concatenate([part.used for part in parts])
    kept, whole = _pruned(used, needs, end, beam)
    before, first, tags = (np.concatenate([getattr(p, n) for p in parts])[kept] for n in ("before", "first", "tags"))
    return _Front(used[kept], before, first, tags), whole


def _pruned(used: Floats, needs: Needs, end: int, beam: int) -> tuple[Ints, bool]:
    """Numbers of the undominated states, the most promising first, and whether these are all."""
    left = used @ needs.weights.T + needs.suffix[end] - needs.most
    return undominated(used, left.max(axis=1) + 0.02 * used.sum(axis=1), beam)


def undominated(used: Floats, rank: Floats, most: int) -> tuple[Ints, bool]:
    """Numbers of rows that no other undercuts or equals in every column, lowest rank first; at most `most` of them.

    `rank` must not be lower for a row that another one undercuts.
    """
    if len(used) < 2:
        return np.arange(min(most, len(used))), len(used) <= most
    order = np.lexsort((used.sum(axis=1), rank))
    columns = np.ascontiguousarray(used[order].T)
    kept: list[int] = []
    numbers, block = np.arange(len(order)), FIRST_BLOCK
    while len(numbers) and len(kept) < most:
        head = columns[:, :block]
        # Whatever a row undercuts, one that is kept undercuts too: comparing all rows of a block is enough.
        above = np.tril(_above(head, head), -1).any(axis=1)
        best = np.nonzero(~above)[0][: most - len(kept)]
        kept += numbers[best].tolist()
        last = int(best[-1]) + 1 if len(kept) == most else min(block, len(numbers))
        rest = columns[:, last:]
        below = np.nonzero(~_above(rest, columns[:, best]).any(axis=1))[0]
        columns, numbers = rest[:, below], numbers[last:][below]
        block = min(2 * block, LAST_BLOCK)
    result: Ints = order[kept]
    return result, not len(numbers)


def _above(rows: Floats, others: Floats) -> NDArray[np.bool_]:
    """Which rows are in no column below which others: `(5, N)` and `(5, K)`, `(N, K)`."""
    result: NDArray[np.bool_] = rows[0][:, None] >= others[0] - TIE
    for mine, theirs in zip(rows[1:], others[1:], strict=True):
        result &= mine[:, None] >= theirs - TIE
    return result


def _trace(table: list[_Front | None], count: int, state: int) -> Cover:
    end, steps = count, []
    front = table[count]
    assert front is not None
    used = front.used[state]
    while end:
        front = table[end]
        assert front is not None
        first = int(front.first[state])
        steps.append(Step(first, end, int(front.tags[state])))
        state, end = int(front.before[state]), first
    return Cover(tuple(reversed(steps)), used)
