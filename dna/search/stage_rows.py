"""Prices of single rows: a layer on a chunk with all its parameters and feeds, the best mapping of each, kept.

Where a search asks for few buffers of many arrays, this is cheaper than tables for all buffers (`StagePrices`), and
says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache

import torch
from torch import Tensor

from dna.accelerator.chunk import MAX_LANES, Chunk, Memory
from dna.accelerator.mapping import LayerMapping
from dna.cost.mapping_limits import Candidates
from dna.network.layer import Layer
from dna.search.bands import BANDS
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.space import BUFFER_AXES
from dna.search.stage_choices import ORDERS, Choices, choices
from dna.search.stage_prices import IDLE_AXES, PAIRS
from dna.search.stage_terms import Feeds, channel_terms, fed_cycles, pixel_terms

PRICED_AXES = tuple(f.name for f in fields(Chunk) if f.name not in IDLE_AXES)
"""Parameters of a chunk that prices depend on."""

TABLES = ("pixels", "channels", "pixel", "channel")
"""Fields of `Choices` that say which mapping it is."""
GEOMETRY = tuple(f.name for f in fields(Choices) if f.name not in TABLES)
FLAGS = ("once", "in_order", "legal")
"""Those that are true or false."""


@dataclass(frozen=True)
class Places:
    """How N chunks are fed in one layer: int64 `(N,)` each, flags 0 or 1."""

    share: Tensor
    """Cycles per beat of the memory ports."""
    frames: Tensor
    """Frames of a group."""
    chip_in: Tensor
    chip_residual: Tensor
    chip_out: Tensor
    chained: Tensor
    """Whether the layer reads what its chunk wrote just before."""
    bank: Tensor
    """Words of the bank that bands of its input must fit in twice; 0: no bands."""

    def columns(self) -> Tensor:
        """int64 `(N, 7)`"""
        return torch.stack([getattr(self, f.name) for f in fields(self)], dim=1)

    @staticmethod
    def of(rows: Tensor) -> Places:
        return Places(*rows.unbind(1))

    def feeds(self, memory: Memory, rows: Tensor) -> Feeds:
        """Of the given rows, as the closed form takes them."""
        flags = (self.chip_in, self.chip_residual, self.chip_out, self.chained)
        return Feeds(memory, self.share.double()[rows], self.frames.double()[rows], *((f > 0)[rows] for f in flags))


@dataclass(frozen=True, eq=False)
class Chosen:
    """The best mappings of N rows."""

    cycles: Tensor
    """Of a group of frames, int64 `(N,)`; `UNMAPPED` where no mapping fits: then the mapping means nothing."""
    candidates: Candidates
    """int64 `(N,)` each"""
    resident: Tensor
    """0 or 1, int64 `(N,)`"""

    def mapping(self, row: int) -> LayerMapping:
        """Of one row."""
        columns = {f.name: int(getattr(self.candidates, f.name)[row]) for f in fields(Candidates)}
        order = ORDERS[columns.pop("order")]
        return LayerMapping(**columns, order=order, resident=bool(self.resident[row]))


@dataclass
class RowPrices:
    """Cycles of a group of frames with the best mapping, priced once for every different row of a layer shape."""

    memory: Memory
    """The board's; shares take the place of its `beat_interval`."""
    priced: int = 0
    """Rows that had to be priced."""
    _chunks: dict[tuple[int, ...], int] = field(default_factory=dict, repr=False)
    _feeds: dict[tuple[int, ...], int] = field(default_factory=dict, repr=False)
    _kept: dict[Layer, dict[int, tuple[int, int]]] = field(default_factory=dict, repr=False)

    def number(self, values: Mapping[str, Tensor]) -> Tensor:
        """A number for each of N chunks, int64 `(N,)`: the same for chunks that cost the same cycles."""
        return _numbered(torch.stack([values[name] for name in PRICED_AXES], dim=1), self._chunks)

    def get(self, layer: Layer, values: Mapping[str, Tensor], numbers: Tensor, places: Places) -> Tensor:
        """Cycles, int64 `(N,)`; `UNMAPPED` where no mapping fits.

        `values`: the chunks' parameters, int64 `(N,)` each; `numbers`: what `number` says of them.
        """
        return self._priced(shape_of(layer), values, numbers, places)[:, 0]

    def chosen(self, layer: Layer, values: Mapping[str, Tensor], numbers: Tensor, places: Places) -> Chosen:
        """As `get`, with the mappings."""
        shape = shape_of(layer)
        priced = self._priced(shape, values, numbers, places)
        columns = torch.zeros(len(numbers), len(fields(Candidates)), dtype=torch.int64)
        resident = torch.zeros(len(numbers), dtype=torch.int64)
        kinds = torch.stack([values["px"], (values["sum_words"] > 0).long()], dim=1)
        for px, sums in torch.unique(kinds, dim=0).tolist():
            rows = torch.nonzero((kinds == torch.tensor([px, sums])).all(dim=1))[:, 0]
            c, ids = choices(shape, px, True, bool(sums)), priced[rows, 1]
            found = c.candidates(ids)
            columns[rows] = torch.stack([getattr(found, f.name) for f in fields(Candidates)], dim=1)
            resident[rows] = c.channels.resident[c.channel[ids]]
        return Chosen(priced[:, 0], Candidates.of(columns), resident)

    def _priced(self, shape: Layer, values: Mapping[str, Tensor], numbers: Tensor, places: Places) -> Tensor:
        """Cycles and number of the choice, int64 `(N, 2)`."""
        kept = self._kept.setdefault(shape, {})
        feeds = _numbered(places.columns(), self._feeds)
        keys, first, place = _distinct(numbers << 24 | feeds)
        listed = keys.tolist()
        missing = [row for row, key in enumerate(listed) if key not in kept]
        if missing:
            rows = first[torch.tensor(missing)]
            part = {name: values[name][rows] for name in PRICED_AXES}
            cycles, ids = price_rows(shape, part, Places.of(places.columns()[rows]), self.memory)
            found = zip(cycles.tolist(), ids.tolist(), strict=True)
            kept.update(zip((listed[row] for row in missing), found, strict=True))
            self.priced += len(missing)
        return torch.tensor([kept[key] for key in listed])[place]


def price_rows(shape: Layer, values: Mapping[str, Tensor], places: Places, memory: Memory) -> tuple[Tensor, Tensor]:
    """Fewest cycles of R chunks and how they are fed, and which of `choices` takes them; int64 `(R,)` each.

    `UNMAPPED` and 0 where no mapping fits.
    """
    result, ids = torch.full((len(places.share),), UNMAPPED), torch.zeros(len(places.share), dtype=torch.int64)
    buffered, columns = values["sum_words"] > 0, places.columns()
    for sums in torch.unique(buffered).tolist():
        mine = torch.nonzero(buffered == sums)[:, 0]
        some = {name: value[mine] for name, value in values.items()}
        bundle = _bundle(shape, tuple(torch.unique(some["px"]).tolist()), sums)
        counts = bundle.counts[some["px"]]
        blocks = (counts.cumsum(0) - counts) // PAIRS
        for block in torch.unique(blocks).tolist():
            rows = torch.nonzero(blocks == block)[:, 0]
            part = {name: value[rows] for name, value in some.items()}
            best = _best(shape, bundle, part, Places.of(columns[mine[rows]]), memory)
            result[mine[rows]], ids[mine[rows]] = best
    return result, ids


@dataclass(frozen=True, eq=False)
class _Bundle:
    """The choices of a layer shape for several numbers of pixel lanes, one behind the other."""

    first: Choices
    """Those of the least lanes: all have the same cuts of the channels."""
    geometry: Tensor
    """Row by row the fields of `GEOMETRY`, float64 `(fields, choices)`."""
    channel: Tensor
    starts: Tensor
    """By number of lanes, the first choice; int64."""
    counts: Tensor

    def choices(self, ids: Tensor) -> Choices:
        """The choices with these numbers, without their mappings."""
        columns = self.geometry.index_select(1, ids)
        given = {name: columns[i] > 0 if name in FLAGS else columns[i] for i, name in enumerate(GEOMETRY)}
        return Choices(self.first.pixels, self.first.channels, ids, self.channel[ids], **given)


@lru_cache(maxsize=1024)
def _bundle(shape: Layer, lanes: tuple[int, ...], sums: bool) -> _Bundle:
    each = [choices(shape, px, True, sums) for px in lanes]
    lengths = torch.tensor([len(c) for c in each])
    starts, counts = torch.zeros(2, MAX_LANES + 1, dtype=torch.int64)
    starts[list(lanes)], counts[list(lanes)] = lengths.cumsum(0) - lengths, lengths
    geometry = [torch.stack([getattr(c, name).double() for name in GEOMETRY]) for c in each]
    return _Bundle(each[0], torch.cat(geometry, dim=1), torch.cat([c.channel for c in each]), starts, counts)


def _best(
    shape: Layer, bundle: _Bundle, values: Mapping[str, Tensor], places: Places, memory: Memory
) -> tuple[Tensor, Tensor]:
    """Of each row, over pairs of row and choice: first those that fit the buffers, then their cycles."""
    counts = bundle.counts[values["px"]]
    row = torch.arange(len(counts)).repeat_interleave(counts)
    ids = torch.arange(len(row)) + (bundle.starts[values["px"]] - counts.cumsum(0) + counts)[row]
    channels = channel_terms(shape, bundle.first.channels, values)
    width = len(bundle.first.channels.order)
    cuts = row * width + bundle.channel[ids]
    depths = {name: values[name].double() for name in BUFFER_AXES}
    fits = bundle.geometry[GEOMETRY.index("input_need")][ids] <= depths["input_words"][row]
    fits &= bundle.geometry[GEOMETRY.index("output_need")][ids] <= depths["output_words"][row]
    fits &= channels.weight_need.reshape(-1)[cuts] <= depths["weight_words"][row]
    fits &= channels.param_need.reshape(-1)[cuts] <= depths["param_words"][row]
    kept = torch.nonzero(fits)[:, 0]
    row, c = row[kept], bundle.choices(ids[kept])
    a = dict(zip(values, torch.stack([v.double() for v in values.values()]).index_select(1, row), strict=True))
    terms = pixel_terms(shape, c, a, channels.spread(cuts[kept], width))
    cycles = torch.where(terms.fits, fed_cycles(shape, c, terms, a, places.feeds(memory, row)).cycles, float(UNMAPPED))
    bank = places.bank[row]
    if (bank > 0).any():
        cycles = torch.where((bank == 0) | ((BANDS * c.band <= bank) & c.in_order), cycles, float(UNMAPPED))
    least = torch.full((len(counts),), float(UNMAPPED), dtype=torch.float64).scatter_reduce(0, row, cycles, "amin")
    first = torch.where(cycles == least[row], ids[kept] - bundle.starts[values["px"]][row], len(bundle.channel))
    place = torch.full((len(counts),), len(bundle.channel)).scatter_reduce(0, row, first, "amin")
    return least.long(), torch.where(least < UNMAPPED, place, 0)


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct keys, a row of each, and the place of every row among them."""
    found, place = torch.unique(keys, return_inverse=True)
    first = torch.full((len(found),), len(keys)).scatter_reduce(0, place, torch.arange(len(keys)), "amin")
    return found, first, place


def _numbered(rows: Tensor, known: dict[tuple[int, ...], int]) -> Tensor:
    """Number of each row of a table, int64 `(N,)`; new rows get the next one."""
    found, place = torch.unique(rows, dim=0, return_inverse=True)
    numbers = [known.setdefault(tuple(row), len(known)) for row in found.tolist()]
    return torch.tensor(numbers)[place]
