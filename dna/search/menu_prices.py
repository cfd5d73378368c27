"""Prices of a network's layers on all arrays of a menu, and what those use of a board.

What kinds of stages (`dna.search.stage_kinds`) add up for runs of layers, and lower bounds of what layers take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
from dna.accelerator.tile import WORD, param_buffer_words
from dna.network.layer import Layer
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.partition import COLUMNS
from dna.search.run_table import Runs
from dna.search.space import BUFFER_AXES
from dna.search.stages import Menu, Mode, StageTables, in_lut

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARES = (1, 2, 3, 4, 6, 8)
"""Cycles per beat that a chunk's memory port may have."""
ROUTABLE = 0.7
"""Part of a board's LUTs that may be used, for a fuller one is hard to route: a rule of thumb."""


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


@dataclass
class Prices:
    """Prices of a network's layers on a menu, and what its entries use."""

    layers: Sequence[Layer]
    menu: Menu
    tables: StageTables
    limits: Limits
    frames: int
    shares: tuple[int, ...]
    rows: Ints | None = None
    """Rows of the tables that are the menu's arrays; None: all are."""
    _fractions: dict[tuple[float, bool], Floats] = field(default_factory=dict)
    _held: dict[Layer, tuple[Ints, Ints]] = field(default_factory=dict)
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

    def made_of_luts(self, suits: Callable[[Chunk], bool]) -> Prices:
        """Those arrays that suit with multipliers made of LUTs: as many cycles, and no DSP."""
        rows = [number for number, chunk in enumerate(self.menu.arrays) if suits(chunk)]
        arrays = tuple(in_lut(self.menu.arrays[row]) for row in rows)
        menu, of_tables = Menu(arrays, self.menu.levels), np.array(rows, dtype=np.int64)
        return Prices(self.layers, menu, self.tables, self.limits, self.frames, self.shares, of_tables)

    def cycles(self, layer: int, mode: Mode) -> Ints:
        """Cycles of `frames` frames, `(A, B)`, buffers from the smallest on."""
        table = self.tables.get(self.layers[layer], mode)
        return (table if self.rows is None else table[self.rows]) * (self.frames // mode.frames)

    def fractions(self, words: float, residual: bool) -> Floats:
        """What the entries use, `(A, B, 5)`, buffers from the smallest on."""
        if (words, residual) not in self._fractions:
            used = self.limits.fractions(self.menu.used(residual), words)
            self._fractions[words, residual] = np.take_along_axis(used, self.menu.order[:, :, None], axis=1)
        return self._fractions[words, residual]

    def both_fractions(self, words: float) -> Floats:
        """Without and with a residual, `(2, A, B, 5)`."""
        return np.stack([self.fractions(words, False), self.fractions(words, True)])

    def weights(self, layer: int) -> tuple[Ints, Ints]:
        """Words of a layer's weights, `(A, 1)`, and of what a slot of the weight buffer holds, `(A, B)`."""
        shape = shape_of(self.layers[layer])
        if shape not in self._held:
            self._held[shape] = self._weights_of(shape)
        return self._held[shape]

    def _weights_of(self, shape: Layer) -> tuple[Ints, Ints]:
        values = {name: value.numpy() for name, value in self.menu.values.items()}
        word = values["oc"] * values["ic"] // WORD
        taps = shape.kernel[0] * shape.kernel[1] * int(shape.has_weights)
        if shape.per_channel:
            groups, steps = -(-shape.out_channels // np.minimum(values["oc"], WORD)), -(-taps // values["ic"])
        else:
            groups = shape.groups * -(-shape.group_outputs // values["oc"])
            steps = taps * -(-shape.group_inputs // values["ic"])
        return (groups * steps * word)[:, None], self._depths("weight_words") // 2 * word[:, None]

    def _depths(self, buffer: str) -> Ints:
        """Of a buffer in each entry, `(A, B)`."""
        found: Ints = self.menu.buffers[:, BUFFER_AXES.index(buffer)].numpy()[self.menu.order]
        return found

    def weight_tiles(self, layer: int) -> Ints:
        """Weight tiles of a layer at least, `(A, B)`: one where its weights and parameters stay."""
        shape, lanes = self.layers[layer], self.menu.values["post_lanes"].numpy()
        weights, slot = self.weights(layer)
        params = np.asarray(param_buffer_words(shape.out_channels, lanes))[:, None]
        tiles: Ints = np.maximum(-(-weights // slot), -(-params // (self._depths("param_words") // 2)))
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

    def added(self, runs: Runs) -> NDArray[np.bool_]:
        """Whether one of the layers of each run adds a residual, `(R,)`."""
        result: NDArray[np.bool_] = self._adding[runs.end] > self._adding[runs.first]
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
