"""Stages: what one chunk of a pipeline may be, and what each layer costs on it, for the exact search over pipelines.

A *menu* lists arrays with all their buffer depths; `StageTables` gives the steady-state cycles of every layer on every
entry of a menu. The closed form is that of `dna.search.stage_prices`, and so are the figures: here all arrays of a
menu, whatever their pixel lanes, are priced in one pass of long vectors: what a search over all of them needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import Chunk, Memory
from dna.cost.resources import resources
from dna.network.layer import Layer
from dna.search.bands import BANDS
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.space import BUFFER_AXES
from dna.search.stage_choices import Choices, choices
from dna.search.stage_terms import ArrayTerms, Traffic, array_terms, fed_cycles

Ints = NDArray[np.int64]

LEVELS = ((512, 1024, 2048, 4096), (64, 256, 512, 1024, 2048, 3072, 4096, 4608), (64, 512), (512, 1024, 2048, 4096))
"""Depths of the buffers in `BUFFER_AXES`' order: where the count of block RAMs makes a step."""
SMALL_LEVELS = ((512, 1024, 2048), (64, 256, 512), (64, 256), (512, 1024))
"""Those of chunks made of LUTs."""
OUTPUT_CHANNELS = (8, 16, 32, 48, 64, 96, 128)
INPUT_CHANNELS = (1, 4, 8, 16)
PIXEL_LANES = (2, 4, 6, 8, 12, 14, 16, 28, 56)
SMALLEST_DSP = 32
"""Smaller arrays are made of LUTs."""
LUT_ARRAYS = ((16, 1, 1), (16, 1, 2), (16, 1, 4), (16, 2, 2), (16, 4, 1))
"""oc, ic, px of arrays without DSP, at most 64 multipliers."""

LUT_INPUT_CHANNELS, LUT_PIXEL_LANES = (4, 8, 16), (2, 4, 8, 14, 28)
"""Arrays of a DSP menu that may be made of LUTs as well."""


FLATS = 48
"""Layers whose mappings are kept for other modes."""


@dataclass(frozen=True)
class Menu:
    """Arrays that a stage may have, each with every choice of buffers.

    `arrays`: chunks with the smallest buffers, all with equal `px`-independent ports. `levels`: depths by buffer.
    """

    arrays: tuple[Chunk, ...]
    levels: tuple[tuple[int, ...], ...]

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """Parameters of the arrays, int64 `(A,)` each."""
        rows = [chunk.integers for chunk in self.arrays]
        return {f.name: torch.tensor([row[f.name] for row in rows]) for f in fields(Chunk)}

    @cached_property
    def buffers(self) -> Tensor:
        """Every choice of depths, int64 `(B, 4)`."""
        return torch.cartesian_prod(*(torch.tensor(level) for level in self.levels))

    def used(self, residual: bool) -> Ints:
        """DSP, BRAM36 and LUT of every array with every choice of buffers, `(A, B, 3)`."""
        wide = {name: value[:, None] for name, value in self.values.items()}
        wide |= {name: self.buffers[:, i][None] for i, name in enumerate(BUFFER_AXES)}
        wide["residual"] = torch.full_like(wide["residual"], int(residual))
        priced = resources(wide)
        counts = torch.broadcast_tensors(priced.dsp, priced.bram36, priced.lut)
        found: Ints = torch.stack(counts, dim=2).numpy()
        return found

    @cached_property
    def order(self) -> Ints:
        """Choices of buffers of each array, fewest block RAMs first, then fewest LUTs; `(A, B)`."""
        used = self.used(residual=bool(self.values["residual"].any()))
        return np.argsort(used[:, :, 1] * 10_000_000 + used[:, :, 2], axis=1, kind="stable")

    def entry(self, array: int, place: int, residual: bool) -> Chunk:
        """The chunk of an array with the buffers at a place of `order`."""
        depths = dict(zip(BUFFER_AXES, self.buffers[self.order[array, place]].tolist(), strict=True))
        return replace(self.arrays[array], **depths, residual=residual)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.arrays), len(self.buffers)


def dsp_menu(
    layers: Sequence[Layer],
    dsp: int,
    *,
    ports: int = 1,
    levels: tuple[tuple[int, ...], ...] = LEVELS,
    depthwise: bool = False,
) -> Menu:
    """Packed arrays within `dsp` DSPs, post lanes in LUTs. `depthwise`: only those that waste no multiplier there."""
    residual = any(layer.residual is not None for layer in layers)
    arrays = []
    for oc, ic, px in product(OUTPUT_CHANNELS, INPUT_CHANNELS, PIXEL_LANES):
        suits = SMALLEST_DSP <= oc * ic * px // 2 <= dsp and oc * ic % tile.WORD == 0
        if suits and (not depthwise or (oc, ic) == (tile.WORD, 1)):
            arrays.append(_array(oc, ic, px, min(16, oc), residual, ports, packed=True))
    return Menu(tuple(arrays), levels)


def lut_menu(layers: Sequence[Layer], shapes: Sequence[tuple[int, int, int]] = LUT_ARRAYS) -> Menu:
    """Small arrays without a DSP."""
    residual = any(layer.residual is not None for layer in layers)
    arrays = [_array(*shape, post, residual, 1, mac_in_lut=True) for shape in shapes for post in (2, 4, 8)]
    return Menu(tuple(arrays), SMALL_LEVELS)


def in_lut(chunk: Chunk) -> Chunk:
    """The same array without a DSP."""
    return replace(chunk, packed=False, mac_in_lut=True)


def suits_lut(chunk: Chunk) -> bool:
    """Whether an array of a DSP menu may be made of LUTs as well: a part of them, so that there are not too many."""
    return chunk.oc <= 64 and chunk.ic in LUT_INPUT_CHANNELS and chunk.px in LUT_PIXEL_LANES


def _array(
    oc: int, ic: int, px: int, post: int, residual: bool, ports: int, packed: bool = False, mac_in_lut: bool = False
) -> Chunk:
    plain = Chunk(oc, ic, px, post, 16, 16, 16, 16, residual=residual, post_in_lut=True, ports=ports, burst_beats=64)
    return replace(plain, packed=packed, mac_in_lut=mac_in_lut)


@dataclass(frozen=True)
class Mode:
    """How a stage is fed: the interval of its memory port's beats, frames per weight load, and what is on chip."""

    share: int
    frames: int
    chip_in: bool = False
    chip_out: bool = False
    banded: int | None = None
    """Only mappings whose input comes in bands of rows, two of which fit a bank of so many words."""

    @property
    def fine(self) -> bool:
        """Whether small tiles are tried too: for bands."""
        return self.banded is not None

    def traffic(self, memory: Memory) -> Traffic:
        return Traffic(replace(memory, beat_interval=self.share), self.frames, self.chip_in, self.chip_out)


@dataclass
class StageTables:
    """Steady-state cycles of layers on the entries of a menu, made for all `modes` when a layer is first asked for."""

    menu: Menu
    memory: Memory
    modes: tuple[Mode, ...]
    _made: dict[tuple[Layer, Mode], Ints] = field(default_factory=dict)
    _flats: dict[tuple[Layer, bool], _Flat] = field(default_factory=dict)
    """The last ones made, for other modes."""

    def get(self, layer: Layer, mode: Mode) -> Ints:
        """Cycles of a group of `mode.frames` frames, `(A, B)`, buffers in the menu's `order`; `UNMAPPED` where none."""
        shape = shape_of(layer)
        if (shape, mode) not in self._made:
            alike = [other for other in self.modes if other.fine == mode.fine and other != mode]
            flat = self._flat(shape, mode.fine)
            for other in (mode, *alike):
                table = flat.best(other, self.memory)
                self._made[shape, other] = np.take_along_axis(table, self.menu.order, axis=1)
        return self._made[shape, mode]

    def _flat(self, shape: Layer, fine: bool) -> _Flat:
        if (shape, fine) not in self._flats:
            while len(self._flats) >= FLATS:
                self._flats.pop(next(iter(self._flats)))
            self._flats[shape, fine] = _Flat.of(shape, self.menu, fine)
        return self._flats[shape, fine]


@dataclass(frozen=True, eq=False)
class _Flat:
    """A layer's mappings on all arrays of a menu, one vector of P pairs of array and mapping."""

    layer: Layer
    sizes: tuple[int, ...]
    """Arrays, and the number of levels of each buffer."""
    c: Choices
    """Fields `(P,)`, but for the tables of cuts."""
    terms: ArrayTerms
    """Fields `(1, 1, P)`."""
    a: dict[str, Tensor]
    """The arrays' parameters, float64 `(1, 1, P)`; `(1, 1, 1)` where all arrays have the same."""
    places: Ints
    """Where in the table each pair belongs, ascending."""
    starts: Ints
    """First pair of each place that has one."""

    @staticmethod
    def of(layer: Layer, menu: Menu, fine: bool) -> _Flat:
        lanes, sums = menu.values["px"], menu.values["sum_words"] > 0
        levels = [torch.tensor(level) for level in menu.levels]
        total = len(menu.buffers)
        parts: list[tuple[Choices, ArrayTerms, Tensor, Tensor, Tensor]] = []
        for px, buffered in torch.unique(torch.stack([lanes, sums.long()], dim=1), dim=0).tolist():
            rows = torch.nonzero((lanes == px) & (sums == bool(buffered)))[:, 0]
            c = choices(layer, px, fine, bool(buffered))
            terms = array_terms(layer, c, {name: value[rows] for name, value in menu.values.items()})
            place, fits = rows[:, None] * total, terms.fits
            needs = (c.input_need[None], terms.weight_need, terms.param_need, c.output_need[None])
            for number, (need, level) in enumerate(zip(needs, levels, strict=True)):
                index = torch.searchsorted(level, need.contiguous())
                fits = fits & (index < len(level))
                place = place + index * int(np.prod([len(other) for other in levels[number + 1 :]]))
            array, mapping = torch.nonzero(fits, as_tuple=True)
            parts.append((c, terms, array, mapping, place[array, mapping]))
        return _Flat._joined(layer, menu, parts)

    @staticmethod
    def _joined(layer: Layer, menu: Menu, parts: Sequence[tuple[Choices, ArrayTerms, Tensor, Tensor, Tensor]]) -> _Flat:
        place = torch.cat([part[4] for part in parts])
        order = torch.argsort(place)
        place = place[order]
        # Where each pair's choice, and its terms, are once those of all parts stand one behind the other.
        chosen, priced, choice, entry = [], [], 0, 0
        for c, terms, array, mapping, _ in parts:
            chosen.append(choice + mapping)
            priced.append(entry + array * len(c) + mapping)
            choice, entry = choice + len(c), entry + terms.fits.numel()
        of_choice, of_terms = torch.cat(chosen)[order], torch.cat(priced)[order]

        def geometry(name: str) -> Tensor:
            return torch.cat([getattr(part[0], name) for part in parts])[of_choice]

        def term(name: str) -> Tensor:
            every = [getattr(t, name).expand(t.fits.shape).reshape(-1) for _, t, _, _, _ in parts]
            return torch.cat(every)[of_terms][None, None]

        tables = ("pixels", "channels")
        first = parts[0][0]
        columns: dict[str, Any] = {f.name: geometry(f.name) for f in fields(Choices) if f.name not in tables}
        c = replace(first, **columns)
        terms = ArrayTerms(**{f.name: term(f.name) for f in fields(ArrayTerms)})
        array = place // len(menu.buffers)
        a = {}
        for name, value in menu.values.items():
            same = bool((value == value[0]).all())
            a[name] = (value[:1] if same else value[array]).double()[None, None]
        places = place.numpy()
        starts = np.nonzero(np.diff(places, prepend=-1))[0]
        sizes = (len(menu.arrays), *(len(level) for level in menu.levels))
        return _Flat(layer, sizes, c, terms, a, places, starts)

    def best(self, mode: Mode, memory: Memory) -> Ints:
        """Fewest cycles for every choice of buffers, `(A, B)`."""
        table = np.full(int(np.prod(self.sizes)), UNMAPPED, dtype=np.int64)
        if len(self.starts):
            feeds = mode.traffic(memory).feeds
            cycles = fed_cycles(self.layer, self.c, self.terms, self.a, feeds).cycles.reshape(-1)
            if mode.banded is not None:
                cycles = torch.where((BANDS * self.c.band <= mode.banded) & self.c.in_order, cycles, torch.inf)
            least = np.minimum.reduceat(cycles.numpy(), self.starts)
            table[self.places[self.starts]] = np.minimum(least, UNMAPPED).astype(np.int64)
        return _running_minimum(table.reshape(self.sizes)).reshape(self.sizes[0], -1)


def _running_minimum(table: Ints) -> Ints:
    """Minimum over all smaller or equal depths."""
    for axis in range(1, table.ndim):
        np.minimum.accumulate(table, axis=axis, out=table)
    return table
