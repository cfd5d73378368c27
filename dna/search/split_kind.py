"""The kind of stage that is split between two chunks: ordinary convolutions on one, depthwise ones on the other.

They hand over in bands of rows, on chip. Both have two ports, one for tensors, one for weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.tile import channel_words
from dna.network.layer import Layer
from dna.search.chip_kinds import ALIGNED, Tensors, carried, link_blocks, output_words
from dna.search.mapping_space import UNMAPPED
from dna.search.menu_prices import Prices
from dna.search.partition import COLUMNS, ROOM, Needs
from dna.search.stage_kinds import Among, Choices, Part
from dna.search.stages import Mode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAIN_LEVELS = ((512,), (256, 512, 1024), (64,), (1024, 2048))
DEPTHWISE_LEVELS = ((512, 1024), (512,), (64,), (1024, 2048))
MAIN_SPLITS = ((20, 3), (12, 4), (12, 6), (20, 10))
DEPTHWISE_SPLIT = (20, 1000)
BANKS = (8192, 16384, 32768)
"""Words of the bank from the ordinary layers to the depthwise ones."""


BAND = 4
"""Rows of a band, about."""


@dataclass(frozen=True)
class Segment:
    """Layers up to the one that reads a depthwise layer."""

    first: int
    depthwise: int
    """The first depthwise layer; all behind it are, up to the last but one."""
    end: int

    @property
    def side(self) -> range:
        """The depthwise layers."""
        return range(self.depthwise, self.end - 1)


@dataclass
class Split:
    """Two chunks for a run: `main` for ordinary layers, `side` for the depthwise ones; a frame at a time.

    A depthwise layer follows the layer before it as far behind as the bank between them lets it; the layer behind it
    has to wait for that one, on the same chunk. So the run takes, for each depthwise layer with those around it, the
    layers before it or, where that is longer, the depthwise one less what the bank holds, and then those behind it; at
    least the depthwise one and a band of the others. Of several depthwise layers in a row only the first one follows
    what is before, only the last is followed.
    """

    main: Prices
    side: Prices
    tensors: Tensors

    @cached_property
    def segments(self) -> list[Segment]:
        """Runs of layers, each up to the layer that reads a depthwise one."""
        layers, found, start = self.main.layers, [], 0
        for number in range(1, len(layers)):
            if layers[number - 1].op == "depthwise" and layers[number].op != "depthwise":
                depthwise = number - 1
                while depthwise > start and layers[depthwise - 1].op == "depthwise":
                    depthwise -= 1
                found.append(Segment(start, depthwise, number + 1))
                start = number + 1
        return found

    @cached_property
    def _starts(self) -> list[int]:
        return [segment.first for segment in self.segments]

    def _own(self, first: int, end: int, side: bool) -> tuple[int, ...]:
        return tuple(n for n in range(first, end) if (self.main.layers[n].op == "depthwise") == side)

    def _cycles(self, number: int, split: tuple[int, int], bank: int | None = None) -> Ints:
        """A layer's cycles for all frames on every entry, `(A * B,)`; with `bank`, on the side chunk."""
        prices = self.main if bank is None else self.side
        mode = Mode(split[0], 1, chip_in=True, chip_out=True, banded=bank)
        return np.minimum(prices.cycles(number, mode), UNMAPPED).reshape(-1)

    def _before(self, first: int, end: int, split: tuple[int, int]) -> Ints:
        """Cycles of a segment's layers ahead of its depthwise one, `(A * B,)`: none where it begins with that."""
        none = np.zeros_like(self._cycles(end, split))
        return sum((self._cycles(number, split) for number in range(first, end)), none)

    @cached_property
    def _sums(self) -> dict[tuple[int, int], Ints]:
        """By main split and bank, cycles of the first k segments on each pair of entries, `(segments + 1, M, S)`."""
        found = {}
        sides = {bank: self._side(bank) for bank in BANKS}
        for one, split in enumerate(MAIN_SPLITS):
            before = np.stack([self._before(s.first, s.depthwise, split) for s in self.segments])
            behind = np.stack([self._cycles(s.end - 1, split) for s in self.segments])
            # A band must be there before the depthwise layer begins, and is left to do when it ends.
            begun = np.stack([self._begun(s, split) for s in self.segments])
            left = behind * self._last_band[:, None]
            exposed = (begun + left).astype(np.int64)
            for bank, (ahead, last) in sides.items():
                each = np.maximum(before[:, :, None], ahead[:, None, :]) + behind[:, :, None]
                each = np.maximum(each, last[:, None, :] + exposed[:, :, None])
                for n in self._doubled:
                    each[n] = np.maximum(before[n][:, None], ahead[n]) + np.maximum(behind[n][:, None], last[n])
                found[one, bank] = np.concatenate([np.zeros_like(each[:1]), np.cumsum(each, axis=0)])
        return found

    def _begun(self, segment: Segment, split: tuple[int, int]) -> Floats:
        """Cycles, `(A * B,)`, until a segment's depthwise layer has the rows of its first band."""
        depthwise = self.main.layers[segment.depthwise]
        if segment.first == segment.depthwise:
            return np.zeros_like(self._cycles(segment.depthwise, split), dtype=np.float64)
        rows = (BAND - 1) * depthwise.stride[0] + depthwise.kernel[0] - depthwise.padding[0]
        part = min(1.0, rows / depthwise.in_height)
        last = segment.depthwise - 1
        begun: Floats = self._before(segment.first, last, split) + part * self._cycles(last, split)
        return begun

    @cached_property
    def _last_band(self) -> Floats:
        """Part of each segment's last layer that is still to do when the depthwise one ends, `(segments,)`."""
        return np.array([min(1.0, BAND / self.main.layers[s.end - 2].out_height) for s in self.segments])

    @cached_property
    def _doubled(self) -> list[int]:
        """Segments with several depthwise layers."""
        return [n for n, segment in enumerate(self.segments) if len(segment.side) > 1]

    def _side(self, bank: int) -> tuple[Ints, Ints]:
        """Cycles, `(segments, S)`, for which each segment's depthwise layers hold up those before them (all but the
        last one, or that one less what the bank holds), and those of the last one."""
        last = np.stack([self._cycles(s.end - 2, DEPTHWISE_SPLIT, bank) for s in self.segments])
        words = np.array([_input_words(self.main.layers[s.depthwise]) for s in self.segments])
        ahead = (last * (1 - np.minimum(1, bank / words))[:, None]).astype(np.int64)
        for n in self._doubled:
            ahead[n] = sum(self._cycles(layer, DEPTHWISE_SPLIT, bank) for layer in self.segments[n].side[:-1])
        return ahead, last

    @cached_property
    def _border(self) -> dict[int, tuple[Ints, Ints]]:
        """By main split, what a run that begins with a segment, or ends with it, takes more: `(segments, M)` each."""
        found = {}
        for one, split in enumerate(MAIN_SPLITS):
            begins, ends = [], []
            for segment in self.segments:
                far = Mode(split[1], 1, chip_in=False, chip_out=True)
                cycles = np.minimum(self.main.cycles(segment.first, far), UNMAPPED).reshape(-1)
                begins.append(cycles - self._cycles(segment.first, split) + self._residuals(segment, split))
                words = output_words(self.main.layers[segment.end - 1])
                ends.append(words * split[1] * self.main.frames - self._cycles(segment.end - 1, split))
            found[one] = np.maximum(np.stack(begins), 0), np.maximum(np.stack(ends), 0)
        return found

    def _residuals(self, segment: Segment, split: tuple[int, int]) -> Ints:
        """What the segment takes more where the tensor that it begins with, in memory, is added in it: a chunk reads
        that and what is on chip one after the other."""
        layers, more = self.main.layers, np.zeros_like(self._cycles(segment.first, split))
        for number in range(segment.first + 1, segment.end):
            if layers[number].residual == layers[segment.first].input:
                words = _input_words(layers[number]) + output_words(layers[number]) * split[1]
                more += np.maximum(words * self.main.frames - self._cycles(number, split), 0)
        return more

    def least(self, layer: int, weights: Floats) -> Floats:
        if self.main.layers[layer].op == "depthwise":
            modes = [Mode(DEPTHWISE_SPLIT[0], 1, chip_in=True, chip_out=True, banded=bank) for bank in BANKS]
            slowest = carried(DEPTHWISE_SPLIT)
            return self.side.least(layer, [(mode, slowest) for mode in modes], weights)
        whole = [(Mode(split[0], 1, chip_in=True, chip_out=True), carried(split)) for split in MAIN_SPLITS]
        return self.main.least(layer, whole, weights)

    def _links(self, first: int, end: int) -> int:
        """BRAM36 of the banks of a run, but for that to the depthwise chunk: all in them is whole."""
        side = set(self._own(first, end, True))
        back = max(output_words(self.main.layers[n]) for n in side)
        kept, repeated = [0] * (end - first), 0
        for name, writer, last in self.tensors.inside(first, end):
            readers = {n for n in range(writer + 1, last + 1) if name in self.main.layers[n].sources}
            words = output_words(self.main.layers[writer])
            if writer not in side and not readers <= side:
                for number in range(writer, last + 1):
                    kept[number - first] += words
            elif writer in side and readers & side:
                repeated = max(repeated, words)
        return link_blocks(back) + sum(link_blocks(words) for words in (max(kept), repeated) if words)

    @cached_property
    def _fastest(self) -> dict[tuple[int, int], Ints]:
        """As `_sums` with the fastest side for every segment, `(segments + 1, M)`: none is below it."""
        return {
            key: np.cumsum(np.diff(sums, axis=0, prepend=0).min(axis=2), axis=0) for key, sums in self._sums.items()
        }

    def _whole(self, start: int, stop: int) -> int:
        """Words of the largest tensor that the bank to the depthwise chunk has to hold whole: what one segment writes
        and the next one begins with."""
        inputs = [self.main.layers[self.segments[n].first - 1] for n in range(start + 1, stop) if self._follows(n)]
        return int(ALIGNED * max((output_words(layer) for layer in inputs), default=0))

    def _follows(self, number: int) -> bool:
        """Whether a segment begins with its depthwise layer."""
        return self.segments[number].first == self.segments[number].depthwise

    def choices(self, interval: float, needs: Needs, among: Among = None) -> Choices:
        parts = []
        for start in range(len(self.segments)):
            for stop in range(start + 1, len(self.segments) + 1):
                quick = {key: self._quick(key, start, stop, interval) for key in self._sums}
                quick = {key: arrays for key, arrays in quick.items() if arrays.any()}
                if not quick:
                    break
                run = self.segments[start].first, self.segments[stop - 1].end
                if among is None or run in among:
                    parts.append(self._of_run(start, stop, quick, interval, needs))
        return Choices.joined(parts, 4)

    def _quick(self, key: tuple[int, int], start: int, stop: int, interval: float) -> Bools:
        """Which arrays of the main chunk may keep up for some segments, `(A,)`; if none, for more none does either."""
        least = self._fastest[key][stop] - self._fastest[key][start] + self._border[key[0]][0][start]
        return np.asarray((least <= interval).reshape(self.main.menu.shape).any(axis=1))

    def _of_run(
        self, start: int, stop: int, quick: Mapping[tuple[int, int], Bools], interval: float, needs: Needs
    ) -> Choices:
        """Options for some segments, by these main splits and banks, and the arrays that may keep up with each: the
        smallest buffers of each pair of arrays."""
        first, end = self.segments[start].first, self.segments[stop - 1].end
        links, whole, parts = self._links(first, end), self._whole(start, stop), []
        keys = sorted(quick, key=lambda key: (carried(MAIN_SPLITS[key[0]]), key[1]))
        sparing = self._sparing(keys[0][0], first, end, links + link_blocks(max(min(BANKS), whole)), needs)
        arrays = np.nonzero(sparing & np.any(list(quick.values()), axis=0))[0]
        if not len(arrays):
            return Choices.none(4)
        fitting: dict[tuple[int, int], Bools] = {}
        for one, bank in keys:
            border = self._of_arrays(self._border[one][0][start] + self._border[one][1][stop - 1], arrays)
            sums = self._sums[one, bank]
            cycles = self._of_arrays(sums[stop], arrays) - self._of_arrays(sums[start], arrays)
            fits = cycles <= (interval - border)[:, :, None]
            fits = fits.reshape(*fits.shape[:2], *self.side.menu.shape)
            fine = _firsts(_firsts(fits, 1), 3)
            for (other, less), before in fitting.items():
                if other == one or less == bank:  # That one takes less of the bandwidth, or a smaller bank.
                    fine &= ~before
            fitting[one, bank] = fits
            array, place, *sides = np.nonzero(fine)
            main = arrays[array] * self.main.menu.shape[1] + place
            side = np.ravel_multi_index(tuple(sides), self.side.menu.shape)
            used = self._main_used(one, first, end, links + link_blocks(max(bank, whole)))[main] + self._side_used[side]
            kept = np.nonzero(~needs.wasteful(used, first, end) & (used <= ROOM).all(axis=1))[0]
            main, side = main[kept], side[kept]
            payload = np.stack([main * 0 + one, main * 0 + bank, main, side], axis=1)
            parts.append(Choices(main * 0 + first, main * 0 + end, used[kept], payload))
        return Choices.joined(parts, 4).least()

    def _sparing(self, one: int, first: int, end: int, links: int, needs: Needs) -> Bools:
        """Arrays of the main chunk, `(A,)`, of which some entry, with the least that a side chunk uses, does not waste
        too much."""
        used = self._main_used(one, first, end, links) + self._side_used.min(axis=0)
        fine = ~needs.wasteful(used, first, end) & (used <= ROOM).all(axis=1)
        return np.asarray(fine.reshape(self.main.menu.shape).any(axis=1))

    def _of_arrays(self, table: Ints, arrays: Ints) -> Ints:
        """Rows `(A * B, ...)` of a table that belong to some arrays of the main chunk, `(len(arrays), B, ...)`."""
        return table.reshape(*self.main.menu.shape, *table.shape[1:])[arrays]

    @cached_property
    def _side_used(self) -> Floats:
        return self.side.fractions(carried(DEPTHWISE_SPLIT), False).reshape(-1, len(COLUMNS))

    def _main_used(self, one: int, first: int, end: int, links: int) -> Floats:
        """What the main entries use with the links' BRAM36, `(A * B, 5)`."""
        adds = self.main.adds(range(first, end))
        extra = np.array([links / self.main.limits.bram36 * (name == "bram36") for name in COLUMNS])
        used: Floats = self.main.fractions(carried(MAIN_SPLITS[one]), adds).reshape(-1, len(COLUMNS)) + extra
        return used

    def part(self, first: int, end: int, payload: Sequence[int]) -> Part:
        one, _, main, side = payload
        groups = self._own(first, end, False), self._own(first, end, True)
        large = self.main.menu.entry(*divmod(main, self.main.menu.shape[1]), self.main.adds(groups[0]))
        small = self.side.menu.entry(*divmod(side, self.side.menu.shape[1]), False)
        words = carried(MAIN_SPLITS[one]), carried(DEPTHWISE_SPLIT)
        chip = frozenset(name for name, _, _ in self.tensors.inside(first, end))
        return Part((large, small), words, groups, tuple((n, 1) for n in range(first, end)), chip)

    def cycles(self, first: int, end: int, payload: Sequence[int]) -> float:
        one, bank, main, side = payload
        start = self._starts.index(first)
        stop = next(i for i, segment in enumerate(self.segments) if segment.end == end) + 1
        sums = self._sums[one, bank][:, main, side]
        border = self._border[one][0][start, main] + self._border[one][1][stop - 1, main]
        return float(sums[stop] - sums[start] + border)

    def quicker(self, first: int, end: int, payload: Sequence[int], words: float) -> tuple[int, ...] | None:
        return None


def _input_words(layer: Layer) -> int:
    return layer.in_height * layer.in_width * channel_words(layer.in_channels)


def _firsts(fits: Bools, axis: int) -> Bools:
    """Only the first true one along an axis."""
    found = np.moveaxis(fits.copy(), axis, 0)
    seen = found[0].copy()
    for row in found[1:]:
        first = row & ~seen
        seen |= row
        row[...] = first
    return np.moveaxis(found, 0, axis)
