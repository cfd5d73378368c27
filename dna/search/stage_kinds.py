"""Kinds of stages: how a run of layers may be carried out, with all sufficient options for an interval.

*Mixed*: one chunk, tensors in memory. *Beside*: mixed, and the run's pooling layers on a small chunk made of LUTs.
An option is the array, the smallest buffers with which it keeps up, and the share of the memory's bandwidth.
(Kinds that keep tensors on chip: `dna.search.chip_kinds`, `dna.search.split_kind`.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
from dna.accelerator.tile import WORD, param_buffer_words
from dna.network.layer import Layer
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.partition import COLUMNS, Needs, undominated
from dna.search.space import BUFFER_AXES
from dna.search.stages import Menu, Mode, StageTables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARES = (1, 2, 3, 4, 6, 8)
"""Cycles per beat that a chunk's memory port may have."""
ROUTABLE = 0.7
"""Part of a board's LUTs that may be used: a fuller one does not route."""
FEW_CHANNELS = 4
"""A first layer with at most so many input channels may have a chunk made of LUTs."""


@dataclass(frozen=True)
class Limits:
    """What all chunks may use together."""

    dsp: float
    bram36: float
    lut: float
    words: float
    """Words of 16 bytes per cycle each way, of all ports."""
    chunks: int

    @staticmethod
    def of(board: Board, chunks: int) -> Limits:
        return Limits(board.dsp, board.bram36, ROUTABLE * board.lut, float(board.carried) / 16, chunks)

    def fractions(self, counts: NDArray[np.int64], words: float, chunks: int = 1) -> Floats:
        """`(..., 3)` counts, words per cycle and chunks as fractions of the limits, `(..., 5)`."""
        rest = np.broadcast_to([words / self.words, chunks / self.chunks], (*counts.shape[:-1], 2))
        return np.concatenate([counts / np.array([self.dsp, self.bram36, self.lut]), rest], axis=-1)


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
    """Options of the runs that begin with one layer: where each ends, what it uses, and what it is."""

    ends: Ints
    used: Floats
    """`(N, 5)`."""
    payload: Ints
    """`(N, K)`: what the kind needs to know an option again."""

    @staticmethod
    def none(width: int) -> Choices:
        return Choices(np.zeros(0, np.int64), np.zeros((0, len(COLUMNS))), np.zeros((0, width), np.int64))

    @staticmethod
    def joined(parts: Sequence[Choices], width: int) -> Choices:
        parts = [part for part in parts if len(part.ends)] or [Choices.none(width)]
        return Choices(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("ends", "used", "payload")))

    def by_end(self) -> dict[int, Choices]:
        order = np.argsort(self.ends, kind="stable")
        ends, starts = np.unique(self.ends[order], return_index=True)
        groups = np.split(order, starts[1:])
        return {
            end: Choices(self.ends[rows], self.used[rows], self.payload[rows])
            for end, rows in zip(ends.tolist(), groups, strict=False)
        }

    def least(self) -> Choices:
        """The undominated ones; all with one end."""
        kept, _ = undominated(self.used, self.used.sum(axis=1), len(self.ends))
        return Choices(self.ends[kept], self.used[kept], self.payload[kept])


class Kind(Protocol):
    """A kind of stage."""

    def choices(self, first: int, interval: float, needs: Needs) -> Choices:
        """All options, of all runs from `first` on, that keep up with `interval` cycles for all frames."""
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
class Prices:
    """Prices of a network's layers on a menu, and what its entries use."""

    layers: Sequence[Layer]
    menu: Menu
    tables: StageTables
    limits: Limits
    frames: int
    shares: tuple[int, ...]
    _fractions: dict[tuple[float, bool], Floats] = field(default_factory=dict)
    _least: dict[tuple[object, ...], Floats] = field(default_factory=dict)
    _weights: dict[tuple[object, ...], Floats] = field(default_factory=dict)

    @staticmethod
    def of(
        layers: Sequence[Layer], menu: Menu, board: Board, limits: Limits, frames: int, modes: bool = True
    ) -> Prices:
        """`modes`: all shares are priced when one of them is."""
        shares = tuple(s for s in SHARES if 1 / s <= limits.words)
        tables = StageTables(menu, board.memory, tuple(Mode(share, frames) for share in shares) if modes else ())
        return Prices(layers, menu, tables, limits, frames, shares)

    def cycles(self, layer: int, mode: Mode) -> Ints:
        """Cycles of `frames` frames, `(A, B)`, buffers from the smallest on."""
        table = self.tables.get(self.layers[layer], mode)
        return np.take_along_axis(table, self.menu.order, axis=1) * (self.frames // mode.frames)

    def fractions(self, words: float, residual: bool) -> Floats:
        """What the entries use, `(A, B, 5)`, buffers from the smallest on."""
        if (words, residual) not in self._fractions:
            used = self.limits.fractions(self.menu.used(residual), words)
            self._fractions[words, residual] = np.take_along_axis(used, self.menu.order[:, :, None], axis=1)
        return self._fractions[words, residual]

    def weights(self, layer: int) -> tuple[Ints, Ints]:
        """Words of a layer's weights, `(A, 1)`, and of what a slot of the weight buffer holds, `(A, B)`."""
        shape, values = self.layers[layer], {name: value.numpy() for name, value in self.menu.values.items()}
        word = values["oc"] * values["ic"] // WORD
        depths = self.menu.buffers[:, BUFFER_AXES.index("weight_words")].numpy()[self.menu.order]
        taps = shape.kernel[0] * shape.kernel[1] * int(shape.has_weights)
        if shape.per_channel:
            groups, steps = -(-shape.out_channels // np.minimum(values["oc"], WORD)), -(-taps // values["ic"])
        else:
            groups = shape.groups * -(-shape.group_outputs // values["oc"])
            steps = taps * -(-shape.group_inputs // values["ic"])
        return (groups * steps * word)[:, None], depths // 2 * word[:, None]

    def weight_tiles(self, layer: int) -> Ints:
        """Weight tiles of a layer at least, `(A, B)`: one where its weights and parameters stay."""
        shape, values = self.layers[layer], {name: value.numpy() for name, value in self.menu.values.items()}
        weights, slot = self.weights(layer)
        params = np.asarray(param_buffer_words(shape.out_channels, values["post_lanes"]))[:, None]
        depths = self.menu.buffers[:, BUFFER_AXES.index("param_words")].numpy()[self.menu.order]
        tiles: Ints = np.maximum(-(-weights // slot), -(-params // (depths // 2)))
        # Where channels do not mix, a tile has few of them: inputs take the room.
        return np.where(tiles > 1, -(-shape.out_channels // WORD), 1) if shape.per_channel else tiles

    def adds(self, layers: Sequence[int]) -> bool:
        """Whether one of the layers adds a residual."""
        return any(self.layers[n].residual is not None for n in layers)

    def _weighted(self, words: float, weights: Floats) -> Floats:
        """Weighted resources of all entries, `(W, A * B)`."""
        key = (words, weights.tobytes())
        if key not in self._weights:
            used = self.fractions(words, False).reshape(-1, len(COLUMNS))
            self._weights[key] = np.ascontiguousarray(weights @ used.T)
        return self._weights[key]

    @cached_property
    def _adding(self) -> Ints:
        """Layers that add a residual among the first k."""
        return np.cumsum([0, *(int(layer.residual is not None) for layer in self.layers)])

    def added(self, first: int, ends: Ints) -> NDArray[np.bool_]:
        """Whether one of the layers of each run from `first` on adds a residual, `(len(ends),)`."""
        result: NDArray[np.bool_] = self._adding[ends] > self._adding[first]
        return result

    def least(self, layer: int, modes: Sequence[tuple[Mode, float]], weights: Floats) -> Floats:
        """As `Kind.least`, over modes with the words per cycle that they take."""
        key = (shape_of(self.layers[layer]), tuple(modes), weights.tobytes())
        if key not in self._least:
            best = np.full(len(weights), np.inf)
            for mode, words in modes:
                cycles = self.cycles(layer, mode).reshape(-1)
                possible = cycles < UNMAPPED
                if possible.any():
                    used = self._weighted(words, weights)[:, possible]
                    best = np.minimum(best, (used * cycles[possible]).min(axis=1))
            self._least[key] = best
        return self._least[key]


def smallest(
    most: Ints,
    cycles: Callable[[Ints, Ints], Ints],
    residual: NDArray[np.bool_],
    use: tuple[Floats, Floats],
    first: int,
    ends: Ints,
    interval: float,
    needs: Needs,
) -> tuple[Ints, Ints, Ints, Floats]:
    """Of each run and array the smallest buffers that keep up: number of the run, array, place of the buffers, use.

    `most` `(E, A)`: cycles with the largest buffers. `cycles(runs, arrays)`: with all buffers, `(P, B)`. `residual`
    `(E,)`: whether the run adds one. `use`: of the entries without and with one, `(A, B, 5)` each.
    """
    rows, arrays = np.nonzero(most <= interval)
    # Arrays that waste too much with their smallest buffers are left out before the buffers are looked at.
    used = np.where(residual[rows, None], use[1][arrays, 0], use[0][arrays, 0])
    fine = ~needs.wasteful(used, first, ends[rows])
    rows, arrays = rows[fine], arrays[fine]
    places = (cycles(rows, arrays) <= interval).argmax(axis=1)
    used = np.where(residual[rows, None], use[1][arrays, places], use[0][arrays, places])
    fine = ~needs.wasteful(used, first, ends[rows])
    return rows[fine], arrays[fine], places[fine], used[fine]


def fewer(ends: Ints, rows: Ints, arrays: Ints, places: Ints, used: Floats, tag: int, found: Ints) -> Choices:
    """What `smallest` gave, less what needs no smaller buffers than `found` `(E, A)`, which is brought up to date.

    `tag` is the first part of the payload, array and place the others.
    """
    fine = places < found[rows, arrays]
    rows, arrays, places = rows[fine], arrays[fine], places[fine]
    found[rows, arrays] = places
    return Choices(ends[rows], used[fine], np.stack([np.full(len(rows), tag), arrays, places], axis=1))


@dataclass
class Mixed:
    """One chunk from a menu for a run, tensors in memory. `allowed(first, end)`: which runs."""

    prices: Prices
    skipped: frozenset[int] = frozenset()
    """Layers that another chunk runs: they cost nothing here."""
    only: tuple[tuple[int, int], ...] | None = None
    """The runs that may have such a chunk; None: all."""

    @cached_property
    def sums(self) -> dict[int, Ints]:
        """By share, cycles of the first k layers on each entry, `(n + 1, A, B)`."""
        result = {}
        for share in self.prices.shares:
            total = np.zeros((len(self.prices.layers) + 1, *self.prices.menu.shape), np.int64)
            for number in range(len(self.prices.layers)):
                if number not in self.skipped:
                    total[number + 1] = self.prices.cycles(number, Mode(share, self.prices.frames))
            result[share] = np.cumsum(total, axis=0, out=total)
        return result

    def choices(self, first: int, interval: float, needs: Needs, ends: Ints | None = None) -> Choices:
        """`ends`: which runs; None: all that there may be."""
        if ends is None:
            ends = np.arange(first + 1, len(self.prices.layers) + 1)
        if self.only is not None:
            ends = np.array([end for start, end in self.only if start == first], dtype=np.int64)
        # A share that asks for no more buffers than the next smaller one is of no use.
        found = np.full((len(ends), self.prices.menu.shape[0]), self.prices.menu.shape[1])
        parts = [self._of_share(first, ends, share, interval, needs, found) for share in reversed(self.prices.shares)]
        return Choices.joined(parts, 3)

    def _of_share(self, first: int, ends: Ints, share: int, interval: float, needs: Needs, found: Ints) -> Choices:
        """`found` `(E, A)`: buffers that suffice with smaller shares; brought up to date."""
        sums = self.sums[share]
        residual = self.prices.added(first, ends)
        use = self.prices.fractions(1 / share, False), self.prices.fractions(1 / share, True)
        most = np.where(found > 0, sums[ends, :, -1] - sums[first, :, -1], UNMAPPED)
        rows, arrays, places, used = smallest(
            most, lambda e, a: sums[ends[e], a] - sums[first, a], residual, use, first, ends, interval, needs
        )
        return fewer(ends, rows, arrays, places, used, share, found)

    def least(self, layer: int, weights: Floats) -> Floats:
        possible = self.only is None or any(first <= layer < end for first, end in self.only)
        if layer in self.skipped or not possible:
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


EXPOSED = (0.015, 0.05)
"""Parts of the interval that the large chunk of a stage may wait for the small one beside it."""


@dataclass
class Beside:
    """A chunk of the large menu for a run, and one of the small menu for its layers of some operators.

    The two take turns on the frames of a pass: the large one waits for the last frame of what the small one does.
    """

    main: Mixed
    small: Mixed
    """Prices the layers that `main` skips."""

    @cached_property
    def _counts(self) -> Ints:
        """Layers beside among the first k."""
        beside = [int(n in self.main.skipped) for n in range(len(self.main.prices.layers))]
        return np.cumsum([0, *beside])

    def choices(self, first: int, interval: float, needs: Needs) -> Choices:
        counts, total = self._counts, len(self.main.prices.layers)
        ends = np.arange(first + 1, total + 1)
        beside = counts[ends] - counts[first]
        ends = ends[(beside > 0) & (beside < ends - first)]
        if not len(ends):
            return Choices.none(6)
        parts = []
        for exposed in EXPOSED:
            own, other = interval * (1 - exposed), interval * min(1.0, exposed * self.main.prices.frames)
            large = self.main.choices(first, own, needs.less(self.main.skipped), ends).by_end()
            little = self.small.choices(first, other, needs.less(self.small.skipped), ends).by_end()
            both = [end for end in large if end in little]
            parts += [self._products(large[end], little[end], needs, first, end) for end in both]
        return Choices.joined(parts, 6)

    def least(self, layer: int, weights: Floats) -> Floats:
        return np.minimum(self.main.least(layer, weights), self.small.least(layer, weights))

    @staticmethod
    def _products(large: Choices, little: Choices, needs: Needs, first: int, end: int) -> Choices:
        large, little = large.least(), little.least()
        used = (large.used[:, None] + little.used[None]).reshape(-1, len(COLUMNS))
        fine = np.nonzero(~needs.wasteful(used, first, end))[0]
        one, other = np.divmod(fine, len(little.ends))
        payload = np.concatenate([large.payload[one], little.payload[other]], axis=1)
        return Choices(np.full(len(fine), end), used[fine], payload)

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
