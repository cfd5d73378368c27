"""Prices of layers as stages of a pipeline: the best mapping for every array, share, batch and place of operands.

Cycles depend on the buffers only through which tiles fit. So one pass over a layer's choices on an array gives the
best cycles for *every* choice of buffers: choices are dropped into a table at the smallest buffers that hold them, and
running minima along the buffers' axes fill the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.mapping import LayerMapping
from dna.network.layer import Layer
from dna.search.bands import BANDS
from dna.search.mapping_space import UNMAPPED, compute_bound, port_bound, shape_of
from dna.search.space import ARRAY_AXES, BUFFER_AXES, Space
from dna.search.stage_choices import Choices, choices
from dna.search.stage_terms import ArrayTerms, StageCycles, Traffic, array_terms, stage_cycles

IDLE_AXES = ("packed", "mac_in_lut", "post_in_lut")
"""Axes of an array that cost hardware and change no cycle."""
PAIRS = 60_000
"""Pairs of array and choice priced together: what the processor's caches hold."""
KEPT = 64
"""Blocks of array terms that are kept for the next share, batch or place of operands."""


@dataclass(frozen=True)
class Key:
    """What a table is for."""

    shape: Layer
    share: int
    frames: int
    chip_in: bool
    chip_out: bool
    banded: int | None
    chained: bool


@dataclass
class StagePrices:
    """Best cycles of layers on arrays of `space`, for all its buffers, made when first asked for and kept.

    `memory`: the board's; a chunk's share takes the place of its `beat_interval`.
    """

    space: Space
    memory: Memory
    _tables: dict[Key, Tensor] = field(default_factory=dict, repr=False)
    _rows: dict[Key, Tensor] = field(default_factory=dict, repr=False)
    _terms: OrderedDict[tuple[object, ...], ArrayTerms] = field(default_factory=OrderedDict, repr=False)

    def get(
        self,
        layer: Layer,
        arrays: Tensor,
        *,
        share: int,
        frames: int,
        chip_in: bool,
        chip_out: bool,
        banded: int | None = None,
        chained: bool = True,
    ) -> Tensor:
        """Cycles of a group of `frames` frames, int32 `(len(arrays), buffer choices)`; `UNMAPPED` where nothing fits.

        `arrays`: row numbers in `space.arrays`; buffers are in the order of `space.buffers`. `share`: cycles per beat
        of the memory ports. `chip_in`, `chip_out`: input and residual, or output, are in a link. `banded`: only
        mappings whose input comes in bands of rows, two of which fit a bank of so many words. `chained`: the layer
        reads what its chunk wrote just before; False where its input is there early, as from a chunk that works on a
        later frame.
        """
        key = Key(shape_of(layer), share, frames, chip_in, chip_out, banded, chained)
        return self._table(key, self._kinds[arrays])[self._rows[key][self._kinds[arrays]]]

    def array(self, layer: Layer, arrays: Tensor) -> Tensor:
        """Cycles per frame below which the array cannot go, whatever the mapping; int64 `(len(arrays),)`."""
        return compute_bound(shape_of(layer), self.space.values(self.space.arrays[arrays]))

    def port(self, layer: Layer, arrays: Tensor, *, share: int, frames: int, chip_in: bool, chip_out: bool) -> Tensor:
        """Cycles of a group of frames below which the memory ports cannot go, int64 `(len(arrays),)`: every word of
        input and output passes once per frame, if it passes at all, and every weight once per group."""
        shape, values = shape_of(layer), self.space.values(self.space.arrays[arrays])
        memory = replace(self.memory, beat_interval=share)
        return port_bound(shape, values, memory, frames, chip_in, chip_out)

    def mappings(
        self,
        layer: Layer,
        chunk: Chunk,
        count: int = 1,
        *,
        share: int,
        frames: int,
        chip_in: bool,
        chip_out: bool,
        banded: int | None = None,
        chained: bool = True,
    ) -> list[LayerMapping]:
        """The best mappings on a chunk, fewest cycles first: the first one is what `get` prices. The chunk need not be
        in the space."""
        key = Key(shape_of(layer), share, frames, chip_in, chip_out, banded, chained)
        return ranked(key, chunk, self.memory, count)

    @cached_property
    def _kinds(self) -> Tensor:
        """Number of each array's kind, int64 `(arrays,)`: arrays of one kind have the same cycles."""
        columns = [self.space.column(name) for name in ARRAY_AXES if name not in IDLE_AXES]
        numbers: Tensor = torch.unique(self.space.arrays[:, columns], dim=0, return_inverse=True)[1]
        return numbers

    @cached_property
    def _kind_arrays(self) -> Tensor:
        """One array of each kind: a row number in `space.arrays`."""
        kinds = self._kinds
        first = torch.full((int(kinds.max()) + 1,), len(kinds))
        return first.scatter_reduce(0, kinds, torch.arange(len(kinds)), "amin")

    @cached_property
    def _levels(self) -> list[Tensor]:
        return [torch.tensor(self.space.axes[self.space.column(name)].values) for name in BUFFER_AXES]

    def _table(self, key: Key, kinds: Tensor) -> Tensor:
        """The key's table with at least the rows of these kinds; `_rows[key]` says where each is."""
        if key not in self._tables:
            self._tables[key] = torch.empty(0, len(self.space.buffers), dtype=torch.int32)
            self._rows[key] = torch.full((len(self._kind_arrays),), -1)
        rows = self._rows[key]
        missing = torch.unique(kinds[rows[kinds] < 0])
        if len(missing):
            table = self._tables[key]
            rows[missing] = torch.arange(len(missing)) + len(table)
            self._tables[key] = torch.cat([table, self._priced(key, missing)])
        return self._tables[key]

    def _priced(self, key: Key, kinds: Tensor) -> Tensor:
        """Rows for the given kinds, int32 `(len(kinds), buffer choices)`."""
        arrays = self.space.arrays[self._kind_arrays[kinds]]
        values = self.space.values(arrays)
        result = torch.empty(len(kinds), len(self.space.buffers), dtype=torch.int32)
        sums = values["sum_words"] > 0
        for px, with_sums in torch.unique(torch.stack([values["px"], sums.long()], dim=1), dim=0).tolist():
            rows = torch.nonzero((values["px"] == px) & (sums == bool(with_sums)))[:, 0]
            c = choices(key.shape, px, True, bool(with_sums))
            for block in rows.split(max(1, PAIRS // len(c))):
                part = {name: value[block] for name, value in values.items()}
                terms = self._array_terms(key, c, part, tuple(kinds[block].tolist()))
                cycles = _with_bands(c, stage_cycles(key.shape, c, terms, part, self._traffic(key)).cycles, key.banded)
                result[block] = buffer_table(c, terms, cycles, self._levels)
        return result

    def _array_terms(self, key: Key, c: Choices, values: Mapping[str, Tensor], kinds: tuple[int, ...]) -> ArrayTerms:
        place = (key.shape, kinds)
        if place in self._terms:
            self._terms.move_to_end(place)
            return self._terms[place]
        terms = array_terms(key.shape, c, values)
        self._terms[place] = terms
        if len(self._terms) > KEPT:
            self._terms.popitem(last=False)
        return terms

    def _traffic(self, key: Key) -> Traffic:
        return traffic_of(key, self.memory)


def traffic_of(key: Key, memory: Memory) -> Traffic:
    """What a key means for the chunk's ports."""
    seen = replace(memory, beat_interval=key.share)
    return Traffic(seen, key.frames, key.chip_in, key.chip_out, key.chained)


def _with_bands(c: Choices, cycles: Tensor, banded: int | None) -> Tensor:
    """Cycles, infinite where the input does not come in bands that fit twice."""
    if banded is None:
        return cycles
    return torch.where((BANDS * c.band <= banded) & c.in_order, cycles, torch.inf)


def buffer_table(c: Choices, terms: ArrayTerms, cycles: Tensor, levels: Sequence[Tensor]) -> Tensor:
    """Fewest cycles on A arrays for every choice of buffers, int32 `(A, product of levels)`.

    `cycles` float64 `(A, C)`; `levels`: depths, ascending, in the order input, weight, param, output.
    """
    sizes = [len(level) for level in levels]
    total = torch.Size(sizes).numel()
    count = len(cycles)
    place, fits = torch.zeros(cycles.shape, dtype=torch.int64), terms.fits
    needs = (c.input_need[None], terms.weight_need, terms.param_need, c.output_need[None])
    for need, level in zip(needs, levels, strict=True):
        index = torch.searchsorted(level.to(need.dtype), need.contiguous())
        fits = fits & (index < len(level))
        place = place * len(level) + index
    place = torch.where(fits, place, total)
    whole = cycles.clamp(max=UNMAPPED).to(torch.int64).to(torch.int32)
    table = torch.full((count, total + 1), UNMAPPED, dtype=torch.int32)
    table.scatter_reduce_(1, place, whole, "amin")
    return _running_minimum(table[:, :total].reshape(-1, *sizes)).flatten(1)


def _running_minimum(table: Tensor) -> Tensor:
    """Minimum over all smaller or equal indices, in every dimension but the first; in place."""
    for dim in range(1, table.dim()):
        for i in range(1, table.shape[dim]):
            here = table.select(dim, i)
            torch.minimum(here, table.select(dim, i - 1), out=here)
    return table


def chunk_prices(key: Key, chunk: Chunk, memory: Memory) -> tuple[Choices, Tensor, StageCycles]:
    """All choices on one chunk: they, their cycles with infinity where one does not fit, float64 `(C,)`, and parts."""
    c = choices(key.shape, chunk.px, True, chunk.sum_words > 0)
    values = {name: torch.tensor([value]) for name, value in chunk.integers.items()}
    terms = array_terms(key.shape, c, values)
    priced = stage_cycles(key.shape, c, terms, values, traffic_of(key, memory))
    fits = terms.fits[0] & (c.input_need <= chunk.input_words) & (c.output_need <= chunk.output_words)
    fits = fits & (terms.weight_need[0] <= chunk.weight_words) & (terms.param_need[0] <= chunk.param_words)
    cycles = torch.where(fits, _with_bands(c, priced.cycles, key.banded)[0], torch.inf)
    return c, cycles, priced


def ranked(key: Key, chunk: Chunk, memory: Memory, count: int) -> list[LayerMapping]:
    """The best mappings on a chunk, fewest cycles first; among equals those that leave the memory alone."""
    c, cycles, priced = chunk_prices(key, chunk, memory)
    order = priced.memory.expand(1, len(c))[0].argsort(stable=True)
    order = order[cycles[order].argsort(stable=True)][:count]
    return [c.mapping(int(row)) for row in order if cycles[row] < torch.inf]
