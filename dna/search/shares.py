"""How the bandwidth of a board's memory is divided among the ports of an accelerator.

A port with an interval of s cycles per beat of b bytes has b / s bytes per cycle; all together must not exceed what the
memory carries. What an interval costs is known by layer (`dna.search.groups`): a port that is idle most of a pass may
still hold up the one layer that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.network.layer import Layer
from dna.search.groups import of_mapping
from dna.search.mapping_space import shape_of
from dna.search.point import Point

INTERVALS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 256, 512, 1024)
"""Cycles per beat that are tried."""
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Demand:
    """What intervals cost one chunk.

    `cycles` int64 `(I, I)`: of a pass, by the interval of its first port and that of its weight port, as places in
    `INTERVALS`. With one port, only the diagonal counts.
    """

    chunk: Chunk
    cycles: Ints

    @property
    def choices(self) -> list[tuple[int, int, Fraction, int]]:
        """First place, second place, bytes per cycle, cycles; the least bandwidth first."""
        width, found = self.chunk.port_bytes, []
        for first, one in enumerate(INTERVALS):
            for second, other in enumerate(INTERVALS):
                if self.chunk.ports == 2:
                    used = Fraction(width, one) + Fraction(width, other)
                elif first == second:
                    used = Fraction(width, one)
                else:
                    continue
                found.append((first, second, used, int(self.cycles[first, second])))
        return sorted(found, key=lambda choice: (choice[2], choice[3], choice[0]))

    def intervals(self, first: int, second: int) -> tuple[int, ...]:
        """Of the chunk's ports."""
        return (INTERVALS[first], INTERVALS[second])[: self.chunk.ports]


def port_widths(accelerator: Accelerator) -> list[int]:
    """Bytes per beat of each port."""
    return [chunk.port_bytes for chunk in accelerator.chunks for _ in range(chunk.ports)]


def bandwidth(shares: Sequence[int], widths: Sequence[int]) -> Fraction:
    """Bytes per cycle of all ports."""
    return sum((Fraction(width, share) for width, share in zip(widths, shares, strict=True)), Fraction(0))


def demands(layers: Sequence[Layer], chunks: Sequence[Chunk], mapping: Mapping, board: Board) -> list[Demand]:
    """By chunk, what intervals cost it with this mapping. `layers`: the executed ones."""
    size = len(INTERVALS)
    totals = [np.zeros((size, size), np.int64) for _ in chunks]
    for index, layer in enumerate(layers):
        home, frames = mapping.chunk(index), mapping.batch(index)
        chip_in, chip_out = layer.input in mapping.on_chip, layer.name in mapping.on_chip
        given = (shape_of(layer), mapping.layers[index], chunks[home], board.memory, frames)
        totals[home] += _layer_table(*given, chip_in, chip_out) * (mapping.frames // frames)
    return [Demand(chunk, cycles) for chunk, cycles in zip(chunks, totals, strict=True)]


@lru_cache(maxsize=4096)
def _layer_table(
    layer: Layer, mapping: LayerMapping, chunk: Chunk, memory: Memory, frames: int, chip_in: bool, chip_out: bool
) -> Ints:
    """Cycles of a group of one layer, `(I, I)`."""
    counts = of_mapping(layer, mapping, chunk, memory, frames)
    if chunk.ports == 1:
        row = np.array([int(counts.cycles(s, s, chip_in, chip_out)) for s in INTERVALS])
        return np.broadcast_to(row[:, None], (len(INTERVALS),) * 2)
    array = int(counts.array())
    first = [max(array, int(counts.inputs(s, chip_in)), int(counts.stores(s, chip_out))) for s in INTERVALS]
    second = [int(counts.weights(s)) for s in INTERVALS]
    return np.maximum.outer(np.array(first), np.array(second))


def split_shares(layers: Sequence[Layer], point: Point, mapping: Mapping, board: Board) -> tuple[int, ...]:
    """The share of each chunk, divided among its ports."""
    found: list[int] = []
    for index, demand in enumerate(demands(layers, point.chunks, mapping, board)):
        chunk = point.chunks[index]
        carried = Fraction(chunk.ports * chunk.port_bytes, point.shares[index])
        within = [choice for choice in demand.choices if choice[2] <= carried]
        first, second, *_ = min(within, key=lambda choice: (choice[3], -choice[2]))
        found += demand.intervals(first, second)
    return tuple(found)


def balanced_shares(wanted: Sequence[Demand], carried: Fraction) -> tuple[int, ...] | None:
    """Intervals within `carried` bytes per cycle with which the chunk that takes longest takes least; what is left goes
    to the chunks that take longest then. None if not even the longest intervals are within it."""
    choices = [_undominated(demand) for demand in wanted]
    at = [0] * len(choices)
    if sum(mine[0][2] for mine in choices) > carried:
        return None
    open_ = set(range(len(choices)))
    while open_:
        slowest = max(open_, key=lambda chunk: (choices[chunk][at[chunk]][3], -chunk))
        used = sum(mine[place][2] for mine, place in zip(choices, at, strict=True))
        following = at[slowest] + 1
        more = following < len(choices[slowest])
        if more and used - choices[slowest][at[slowest]][2] + choices[slowest][following][2] <= carried:
            at[slowest] = following
        else:
            open_.remove(slowest)
    chosen = zip(wanted, choices, at, strict=True)
    return tuple(s for demand, mine, place in chosen for s in demand.intervals(*mine[place][:2]))


def _undominated(demand: Demand) -> list[tuple[int, int, Fraction, int]]:
    """Choices by ascending bandwidth, each with fewer cycles than all before."""
    found: list[tuple[int, int, Fraction, int]] = []
    for choice in demand.choices:
        if not found or choice[3] < found[-1][3]:
            found.append(choice)
    return found
