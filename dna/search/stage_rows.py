"""Prices of single rows: a layer on a chunk with all its parameters and feeds, the best mapping of each, kept.

Where a search asks for few buffers of many arrays, this is cheaper than tables for all buffers (`StagePrices`), and
says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from dna.accelerator.chunk import Chunk, Memory
from dna.network.layer import Layer
from dna.search.bands import BANDS
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.space import BUFFER_AXES
from dna.search.stage_choices import Choices, choices
from dna.search.stage_prices import IDLE_AXES, PAIRS
from dna.search.stage_terms import Feeds, array_terms, stage_cycles

PRICED_AXES = tuple(f.name for f in fields(Chunk) if f.name not in IDLE_AXES)
"""Parameters of a chunk that prices depend on."""


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

    def feeds(self, memory: Memory) -> Feeds:
        """As the closed form takes them."""
        flags = (self.chip_in, self.chip_residual, self.chip_out, self.chained)
        share, frames = self.share.double()[:, None], self.frames.double()[:, None]
        return Feeds(memory, share, frames, *(flag[:, None] > 0 for flag in flags))


@dataclass
class RowPrices:
    """Cycles of a group of frames with the best mapping, priced once for every different row of a layer shape."""

    memory: Memory
    """The board's; shares take the place of its `beat_interval`."""
    priced: int = 0
    """Rows that had to be priced."""
    _chunks: dict[tuple[int, ...], int] = field(default_factory=dict, repr=False)
    _feeds: dict[tuple[int, ...], int] = field(default_factory=dict, repr=False)
    _kept: dict[Layer, dict[int, int]] = field(default_factory=dict, repr=False)

    def number(self, values: Mapping[str, Tensor]) -> Tensor:
        """A number for each of N chunks, int64 `(N,)`: the same for chunks that cost the same cycles."""
        return _numbered(torch.stack([values[name] for name in PRICED_AXES], dim=1), self._chunks)

    def get(self, layer: Layer, values: Mapping[str, Tensor], numbers: Tensor, places: Places) -> Tensor:
        """Cycles, int64 `(N,)`; `UNMAPPED` where no mapping fits.

        `values`: the chunks' parameters, int64 `(N,)` each; `numbers`: what `number` says of them.
        """
        shape = shape_of(layer)
        kept = self._kept.setdefault(shape, {})
        feeds = _numbered(places.columns(), self._feeds)
        keys, first, place = _distinct(numbers << 24 | feeds)
        listed = keys.tolist()
        missing = [row for row, key in enumerate(listed) if key not in kept]
        if missing:
            rows = first[torch.tensor(missing)]
            part = {name: values[name][rows] for name in PRICED_AXES}
            cycles = price_rows(shape, part, Places.of(places.columns()[rows]), self.memory)
            kept.update(zip((listed[row] for row in missing), cycles.tolist(), strict=True))
            self.priced += len(missing)
        return torch.tensor([kept[key] for key in listed])[place]


def price_rows(shape: Layer, values: Mapping[str, Tensor], places: Places, memory: Memory) -> Tensor:
    """Fewest cycles of R chunks and how they are fed, int64 `(R,)`; `UNMAPPED` where no mapping fits."""
    result = torch.full((len(places.share),), UNMAPPED)
    fine = ((places.chained > 0) | (places.bank > 0)).long()
    kinds = torch.stack([values["px"], (values["sum_words"] > 0).long(), fine], dim=1)
    for px, sums, small in torch.unique(kinds, dim=0).tolist():
        rows = torch.nonzero((kinds == torch.tensor([px, sums, small])).all(dim=1))[:, 0]
        c = choices(shape, px, bool(small), bool(sums))
        for block in rows.split(max(1, PAIRS // len(c))):
            part = {name: value[block] for name, value in values.items()}
            result[block] = _best(shape, c, part, Places.of(places.columns()[block]), memory)
    return result


def _best(shape: Layer, c: Choices, values: Mapping[str, Tensor], places: Places, memory: Memory) -> Tensor:
    terms = array_terms(shape, c, values)
    cycles = stage_cycles(shape, c, terms, values, places.feeds(memory)).cycles
    needs = (c.input_need[None], terms.weight_need, terms.param_need, c.output_need[None])
    fits = terms.fits
    for name, need in zip(BUFFER_AXES, needs, strict=True):
        fits = fits & (need <= values[name][:, None])
    if (places.bank > 0).any():
        fits = fits & ((places.bank == 0)[:, None] | ((BANDS * c.band <= places.bank[:, None]) & c.in_order))
    return torch.where(fits, cycles, float(UNMAPPED)).amin(dim=1).clamp(max=UNMAPPED).long()


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
