"""The kind of stage that keeps tensors on chip: one chunk and a link from itself to itself, as far as they have room.

Several frames go through per weight load where several frames of the tensors have room. The chunk has two ports, one
for tensors, one for weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import LINK_WORDS
from dna.accelerator.tile import channel_words
from dna.cost.resources import ram_half_blocks
from dna.network.layer import Layer
from dna.search.menu_prices import Prices
from dna.search.partition import COLUMNS, Needs
from dna.search.run_table import Runs, RunTable
from dna.search.stage_kinds import Among, Choices, Part, all_choices
from dna.search.stages import Mode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHIP_LEVELS = ((512, 1024, 2048), (256, 512, 1024, 2048, 4096), (64, 512), (512, 1024, 2048))
"""Depths of the buffers of a chunk with a link."""
SPLITS = ((2, 6), (2, 16), (3, 6), (3, 16), (4, 12), (6, 3), (12, 4), (6, 12), (12, 12))
"""Intervals of the beats of the weights' and the tensors' port."""
ALIGNED = 1.04
"""Words that tensors take in a link over those that they have: one begins behind the other, tile by tile."""
LINKS = (8192, 16384, 32768)
"""Words of a link from a chunk to itself."""


def carried(intervals: tuple[int, int]) -> float:
    """Words per cycle of two ports with these."""
    return 1 / intervals[0] + 1 / intervals[1]


def link_blocks(words: int) -> int:
    """BRAM36 of the smallest link that holds so many words; a number that no board has where none does."""
    if words > LINK_WORDS[1]:
        return 1_000_000
    return -(-int(ram_half_blocks(max(LINK_WORDS[0], 1 << (words - 1).bit_length()))) // 2)


def output_words(layer: Layer) -> int:
    return layer.out_height * layer.out_width * channel_words(layer.out_channels)


@dataclass(frozen=True)
class Tensors:
    """Where the tensors of the layers are written and read, by number of the layer."""

    layers: tuple[Layer, ...]
    able: frozenset[str]
    """Those that may be in links: no part of a concat, not the output."""

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {layer.name: number for number, layer in enumerate(self.layers)}

    @cached_property
    def last_readers(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for number, layer in enumerate(self.layers):
            for name in layer.sources:
                found[name] = number
        return found

    def spans(self) -> list[tuple[str, int, int]]:
        """Name, writer and last reader of every tensor that may be on chip."""
        return [(name, self.numbers[name], last) for name, last in self.last_readers.items() if name in self.able]

    def inside(self, first: int, end: int) -> list[tuple[str, int, int]]:
        """Those that layers of a run write and only layers of the run read."""
        return [span for span in self.spans() if first <= span[1] and span[2] < end]

    @cached_property
    def alive(self) -> list[int]:
        """Words of a link that tensors hold while each layer runs, its own output included: a link is a ring, so what
        was written behind a tensor that is still to be read stays too."""
        spans = self.spans()
        words = []
        for number in range(len(self.layers)):
            oldest = min((writer for _, writer, last in spans if writer <= number <= last), default=number)
            behind = [writer for _, writer, _ in spans if oldest <= writer <= number]
            words.append(sum(output_words(self.layers[writer]) for writer in behind))
        return words

    def batches(self, words: int, frames: int) -> list[int]:
        """Frames per weight load of each layer that `words` of a link have room for, fewer towards the front, or 0."""
        rooms = [words / (alive * ALIGNED) if alive else frames for alive in self.alive]
        fitting = [max((b for b in range(1, frames + 1) if frames % b == 0 and b <= room), default=0) for room in rooms]
        for number in reversed(range(len(fitting) - 1)):
            if fitting[number] and fitting[number + 1]:
                fitting[number] = min(fitting[number], fitting[number + 1])
        return fitting

    def traffic(self, number: int, outside: set[str]) -> tuple[int, int, int]:
        """Words that a layer reads in memory and on chip, and writes in memory, if these tensors are in memory."""
        layer = self.layers[number]
        own = layer.in_height * layer.in_width * channel_words(layer.in_channels)
        far = near = 0
        for name in layer.sources:
            words = output_words(self.layers[self.numbers[name]]) if name in self.numbers else own
            if name in outside or name not in self.able:
                far += words
            else:
                near += words
        return far, near, output_words(layer) if layer.name in outside or layer.name not in self.able else 0


@dataclass
class OnChip:
    """One chunk for a run, with a link of `words` to itself."""

    prices: Prices
    tensors: Tensors
    words: int

    @cached_property
    def batches(self) -> list[int]:
        """Of each layer; all frames where its tensors are in memory anyway."""
        return [batch or self.prices.frames for batch in self._fitting]

    @cached_property
    def _fitting(self) -> list[int]:
        return self.tensors.batches(self.words, self.prices.frames)

    @cached_property
    def chip(self) -> list[tuple[str, int, int]]:
        """Tensors that are on chip where all their layers are in the run: equal batches from writer to last reader."""
        return [
            (name, writer, last)
            for name, writer, last in self.tensors.spans()
            if self._fitting[writer] and len({self._fitting[n] for n in range(writer, last + 1)}) == 1
        ]

    def _cycles(self, number: int, split: tuple[int, int], outside: set[str]) -> Ints:
        """A layer's cycles for all frames, `(A, B)`, with these tensors in memory."""
        mode = Mode(split[0], self.batches[number], chip_in=True, chip_out=True)
        frames = self.prices.frames
        far, near, written = self.tensors.traffic(number, outside)
        reads, writes = far * split[1] * frames, written * split[1] * frames
        weights, slot = self.prices.weights(number)
        # Where not all weights stay, a group's inputs come again for each part of them, or all weights for each frame.
        again = np.minimum(reads * -(-weights // slot), np.maximum(reads, weights * split[0] * frames))
        loads = np.where(weights > slot, again, reads) + near * frames * (far > 0)
        return np.maximum(self.prices.cycles(number, mode), np.maximum(loads, writes))

    @cached_property
    def tables(self) -> dict[int, RunTable]:
        """By number of the split, smallest part of the bandwidth first."""
        never = {layer.name for layer in self.prices.layers} - {name for name, _, _ in self.chip}
        numbers = sorted((n for n, s in enumerate(SPLITS) if self._possible(s)), key=lambda n: carried(SPLITS[n]))
        adds = self.prices.added(self.runs)
        return {n: RunTable(self.runs, *self._sums(SPLITS[n], never), adds, self._use(SPLITS[n])) for n in numbers}

    @cached_property
    def runs(self) -> Runs:
        """Those with all layers of a tensor that may be on chip."""
        count, found = len(self.prices.layers), []
        for first in range(count):
            nearest = min((last for _, writer, last in self.chip if writer >= first), default=count)
            found += [(first, end) for end in range(nearest + 1, count + 1)]
        return Runs.of(found)

    def _possible(self, split: tuple[int, int]) -> bool:
        return carried(split) <= self.prices.limits.words

    def _sums(self, split: tuple[int, int], never: set[str]) -> tuple[Ints, Ints]:
        """Head and tail of a table: cycles of the first k layers with as much on chip as can be; less, and more, what
        a run that begins, or ends, there takes more, for its tensors are in memory."""
        count = len(self.prices.layers)
        alone = np.stack([self._cycles(n, split, never) for n in range(count)])
        # The next layer's weights are asked for when a layer's last weight tile is first used: that tile hides them.
        each = alone.copy()
        for n in range(count - 1):
            groups = self.prices.frames // self.batches[n + 1]
            load = np.minimum(*self.prices.weights(n + 1)) * split[0] * groups
            each[n] += np.maximum(load - each[n] // self.prices.weight_tiles(n), 0)
        before, behind = (np.zeros((count + 1, *self.prices.menu.shape), np.int64) for _ in range(2))
        for cut in range(1, count):
            cut_through = {name for name, writer, last in self.chip if writer < cut <= last}
            for n in {n for name in cut_through for n in self._readers(name) if n >= cut}:
                before[cut] += self._cycles(n, split, never | cut_through) - alone[n]
            for n in {self.tensors.numbers[name] for name in cut_through}:
                behind[cut] += self._cycles(n, split, never | cut_through) - alone[n]
            behind[cut] += alone[cut - 1] - each[cut - 1]
        sums = np.concatenate([np.zeros_like(each[:1]), np.cumsum(each, axis=0)])
        return sums - before, sums + behind

    def _readers(self, name: str) -> list[int]:
        return [n for n, layer in enumerate(self.prices.layers) if name in layer.sources]

    def choices(self, interval: float, needs: Needs, among: Among = None) -> Choices:
        if not len(self.runs):
            return Choices.none(3)
        return all_choices(list(self.tables.values()), list(self.tables), interval, needs, among)

    def least(self, layer: int, weights: Floats) -> Floats:
        batch = self.batches[layer]
        modes = [(Mode(s[0], batch, chip_in=True, chip_out=True), carried(s)) for s in SPLITS if self._possible(s)]
        return self.prices.least(layer, modes, weights)

    def _use(self, split: tuple[int, int]) -> Floats:
        """What the entries use without and with a buffer for residuals, the link included, `(2, A, B, 5)`."""
        link = link_blocks(self.words) / self.prices.limits.bram36
        return self.prices.both_fractions(carried(split)) + np.array([link * (name == "bram36") for name in COLUMNS])

    def part(self, first: int, end: int, payload: Sequence[int]) -> Part:
        number, array, place = payload
        layers = tuple(range(first, end))
        chunk = self.prices.menu.entry(array, place, self.prices.adds(layers))
        inside = {name for name, _, _ in self.tensors.inside(first, end)}
        chip = frozenset(name for name, _, _ in self.chip if name in inside)
        batches = tuple((n, self.batches[n]) for n in layers)
        return Part((chunk,), (carried(SPLITS[number]),), (layers,), batches, chip)

    def cycles(self, first: int, end: int, payload: Sequence[int]) -> float:
        number, array, place = payload
        table = self.tables[number]
        return float(table.tail[end, array, place] - table.head[first, array, place])

    def quicker(self, first: int, end: int, payload: Sequence[int], words: float) -> tuple[int, ...] | None:
        return None
