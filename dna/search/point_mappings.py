"""Mappings of a point's layers, each by where its tensors lie and by what its chunk's ports carry.

A layer whose tensors all lie in memory takes the best of a few mappings by its own schedule. One that reads or writes
on chip takes bands of rows, which let the chunks on both sides work at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dna.accelerator.board import Board
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search.bands import TOLERANCE, Place, band_choice, chip_choices
from dna.search.groups import of_mapping
from dna.search.point import Point
from dna.search.refine import best_priced, layer_choices

CHOICES = 8
"""Mappings of a layer that are scheduled where all its tensors lie in memory; 1: the best priced one is taken."""
SLACK = 0.5
"""Part of the time in which a chunk waits for the slowest one that lower bands may take."""
MOST_SLACK = 1.2
ORDERED = 1.1
"""A layer behind which nobody waits for bands takes them in their order where that costs at most this factor."""
Ports = Sequence[tuple[int, int]]
"""By chunk, cycles per beat of its first port and of the one for weights."""


@dataclass(frozen=True)
class Mapper:
    """Chooses mappings for the layers of a point."""

    layers: tuple[Layer, ...]
    """The executed ones."""
    point: Point
    board: Board
    choices: int = CHOICES
    ports: Ports | None = None
    """None: the point's share for both ports of a chunk."""
    rows_priced: bool = False
    """How a chunk with less to do than the slowest one chooses its bands: the lowest ones within a tolerance or, if
    true, those with the least of cycles and waiting. Neither is always better."""

    def mapping(self, ordered: bool) -> Mapping:
        """Of all layers. UserError, naming the layer, if one has none.

        A chunk that has less to do than the slowest one may take a little longer with lower bands, for which others
        wait less. `ordered`: what other chunks write on chip is read band by band whatever it costs, which takes least
        room.
        """
        point, found = self.point, list(self._fastest)
        for index, banded in self._banded.items():
            cheap = self.cycles(index, banded) <= ORDERED * self.cycles(index, found[index])
            if ordered or index in self._followed or cheap or self._rows_count(index):
                found[index] = banded
        return Mapping(tuple(found), point.assignment, point.frames, point.batches, point.on_chip)

    def cycles(self, index: int, mapping: LayerMapping) -> int:
        """Of a pass of the layer on its chunk, nothing else going on."""
        point, layer = self.point, self.layers[index]
        home, frames = point.assignment[index], point.batch(index)
        counts = of_mapping(layer, mapping, point.chunks[home], self.board.memory, frames)
        cycles = counts.cycles(*self._intervals(index), layer.input in point.on_chip, layer.name in point.on_chip)
        return int(cycles) * (point.frames // frames)

    def ranked(self, index: int, count: int) -> list[LayerMapping]:
        """The best mappings of a layer, best first; empty where none fits."""
        layer, point = self.layers[index], self.point
        if not point.on_chip.isdisjoint((layer.name, layer.input)):
            return self.on_chip(index, count)
        memory = replace(self.board.memory, beat_interval=self._intervals(index)[0])
        chunk, scheduled = point.chunks[point.assignment[index]], max(count, self.choices)
        if scheduled == 1:
            return best_priced(layer, chunk, memory, point.batch(index), 1)
        return [choice.mapping for choice in layer_choices(layer, chunk, memory, point.batch(index), scheduled)][:count]

    def on_chip(
        self, index: int, count: int, in_order: bool = False, tolerance: float = TOLERANCE
    ) -> list[LayerMapping]:
        """The best mappings of a layer that reads or writes on chip."""
        return chip_choices(self.layers[index], self._place(index), count, in_order=in_order, tolerance=tolerance)

    def _place(self, index: int) -> Place:
        layer, point = self.layers[index], self.point
        first, second = self._intervals(index)
        return Place(
            point.chunks[point.assignment[index]],
            replace(self.board.memory, beat_interval=first),
            second,
            point.batch(index),
            layer.input in point.on_chip,
            layer.name in point.on_chip,
        )

    @cached_property
    def _fastest(self) -> list[LayerMapping]:
        """Of all layers."""
        return [self._best(index) for index in range(len(self.layers))]

    @cached_property
    def _banded(self) -> dict[int, LayerMapping]:
        """Of the layers that hand over from chunk to chunk."""
        found = {}
        for index in self._spanning:
            slack = max(self._busy) / self._busy[self.point.assignment[index]]
            tolerance = min(max(TOLERANCE, 1 + (slack - 1) * SLACK), MOST_SLACK)
            priced = self._rows_count(index)
            found[index] = self._cheapest(index) if priced else self.on_chip(index, 1, True, tolerance)[0]
        return found

    def _rows_count(self, index: int) -> bool:
        """Whether the layer's bands are chosen by what their rows cost."""
        return self.rows_priced and self._busy[self.point.assignment[index]] < max(self._busy)

    def _cheapest(self, index: int) -> LayerMapping:
        """The one with least cycles and waiting: the layer goes no faster than what it follows, it waits for its first
        band, and others wait for its last one."""
        floor, per_row = 0, 0.0
        for writer, reader in self._handed_over:
            if index in (writer, reader):
                per_row += min(self._taken[writer], self._taken[reader]) / self.layers[index].out_height
                floor = max(floor, self._taken[writer]) if index == reader else floor
        return band_choice(self.layers[index], self._place(index), floor, per_row)

    @cached_property
    def _taken(self) -> list[int]:
        """Cycles of a frame of each layer, with its fastest mapping."""
        return [self.cycles(index, mapping) // self.point.frames for index, mapping in enumerate(self._fastest)]

    @cached_property
    def _busy(self) -> list[int]:
        """Cycles of a frame of each chunk, with the fastest mappings."""
        busy = [0] * len(self.point.chunks)
        for index, cycles in enumerate(self._taken):
            busy[self.point.assignment[index]] += cycles
        return busy

    def _best(self, index: int) -> LayerMapping:
        ranked = self.ranked(index, 1)
        if not ranked:
            raise UserError(f"layer '{self.layers[index].name}': fits no tile on chunk {self.point.assignment[index]}")
        return ranked[0]

    def _intervals(self, index: int) -> tuple[int, int]:
        """Cycles per beat of the two ports of a layer's chunk."""
        home = self.point.assignment[index]
        return self.ports[home] if self.ports else (self.point.shares[home],) * 2

    @cached_property
    def _followed(self) -> frozenset[int]:
        """Layers that write on chip what another chunk reads, frame by frame."""
        return frozenset(writer for writer, _ in self._handed_over)

    @cached_property
    def _spanning(self) -> list[int]:
        """Those, and the ones that read from them."""
        return sorted({index for pair in self._handed_over for index in pair})

    @cached_property
    def _handed_over(self) -> list[tuple[int, int]]:
        """Writer and reader of what goes on chip from one chunk to another, frame by frame."""
        point, number = self.point, {layer.name: index for index, layer in enumerate(self.layers)}
        pairs = [(number[layer.input], n) for n, layer in enumerate(self.layers) if layer.input in point.on_chip]
        return [
            (writer, reader)
            for writer, reader in pairs
            if point.assignment[writer] != point.assignment[reader] and point.batch(writer) == point.batch(reader) == 1
        ]
