"""Stages: what one chunk of a pipeline may be, and what each layer costs on it, for the exact search over pipelines.

A *menu* lists arrays with all their buffer depths; `StageTables` gives the steady-state cycles of every layer on every
entry of a menu, from `dna.search.steady`'s closed form, over a thinned list of mappings: of those that agree in the
channels they take at once, the ones that no other undercuts in pixels computed, words loaded, or depth of a buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import LINK_MEMORY, Chunk, Memory
from dna.accelerator.isa import INSTRUCTION_BYTES, WORD_BYTES
from dna.cost.cycles import CONSTANTS, Terms, layer_terms
from dna.cost.mapping_limits import Candidates, buffer_needs, legal, strides
from dna.cost.resources import resources
from dna.network.layer import Layer
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.space import BUFFER_AXES
from dna.search.steady import group_candidates

Ints = NDArray[np.int64]

LEVELS = ((512, 1024, 2048, 4096), (64, 256, 512, 1024, 2048, 3072, 4096, 4608), (64, 512), (512, 1024, 2048, 4096))
"""Depths of the buffers in `BUFFER_AXES`' order: where the count of block RAMs makes a step."""
SMALL_LEVELS = ((512, 1024, 2048), (64, 256, 512), (64, 256), (512, 1024))
"""Those of chunks made of LUTs."""
OUTPUT_CHANNELS = (8, 16, 32, 48, 64, 96, 128)
INPUT_CHANNELS = (1, 4, 8, 16)
PIXEL_LANES = (2, 4, 6, 8, 10, 12, 14, 16, 20, 28, 32, 56)
SMALLEST_DSP = 32
"""Smaller arrays are made of LUTs."""
LUT_ARRAYS = ((16, 1, 1), (16, 1, 2), (16, 1, 4), (16, 2, 2), (16, 4, 1))
"""oc, ic, px of arrays without DSP, at most 64 multipliers."""


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

    @cached_property
    def used(self) -> Ints:
        """DSP, BRAM36 and LUT of every array with every choice of buffers, `(A, B, 3)`."""
        wide = {name: value[:, None] for name, value in self.values.items()}
        wide |= {name: self.buffers[:, i][None] for i, name in enumerate(BUFFER_AXES)}
        priced = resources(wide)
        counts = torch.broadcast_tensors(priced.dsp, priced.bram36, priced.lut)
        found: Ints = torch.stack(counts, dim=2).numpy()
        return found

    @cached_property
    def order(self) -> Ints:
        """Choices of buffers of each array, fewest block RAMs first, then fewest LUTs; `(A, B)`."""
        key = self.used[:, :, 1] * 10_000_000 + self.used[:, :, 2]
        return np.argsort(key, axis=1, kind="stable")

    def chunk(self, array: int, buffers: int) -> Chunk:
        depths = dict(zip(BUFFER_AXES, self.buffers[buffers].tolist(), strict=True))
        return replace(self.arrays[array], **depths)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.arrays), len(self.buffers)


def dsp_menu(layers: Sequence[Layer], dsp: int, post_lanes: Sequence[int] = (16,), **given: object) -> Menu:
    """Packed arrays within `dsp` DSPs, post lanes in LUTs."""
    residual = any(layer.residual is not None for layer in layers)
    arrays = []
    for oc, ic, px, post in product(OUTPUT_CHANNELS, INPUT_CHANNELS, PIXEL_LANES, post_lanes):
        used = oc * ic * px // 2
        if SMALLEST_DSP <= used <= dsp and oc * ic % tile.WORD == 0 and oc % min(post, oc) == 0:
            arrays.append(_array(oc, ic, px, min(post, oc), residual, packed=True))
    return Menu(tuple(arrays), LEVELS)


def lut_menu(layers: Sequence[Layer], shapes: Sequence[tuple[int, int, int]] = LUT_ARRAYS) -> Menu:
    """Small arrays without a DSP."""
    residual = any(layer.residual is not None for layer in layers)
    arrays = [_array(*shape, post, residual, mac_in_lut=True) for shape in shapes for post in (2, 4, 8)]
    return Menu(tuple(arrays), SMALL_LEVELS)


def _array(oc: int, ic: int, px: int, post: int, residual: bool, **switches: bool) -> Chunk:
    return Chunk(
        oc, ic, px, post, 16, 16, 16, 16, residual=residual, post_in_lut=True, ports=1, burst_beats=64, **switches
    )  # fmt: skip


@dataclass(frozen=True)
class Mode:
    """How a stage is fed: the interval of its memory port's beats, frames per weight load, and what is on chip."""

    share: int
    frames: int
    chip_in: bool = False
    chip_out: bool = False
    ports: int = 1


@dataclass
class StageTables:
    """Steady-state cycles of layers on the entries of a menu, each table made when first asked for."""

    menu: Menu
    memory: Memory
    _made: dict[tuple[Layer, Mode], Ints] = field(default_factory=dict)
    _priced: dict[tuple[Layer, int], _Shape] = field(default_factory=dict)

    def get(self, layer: Layer, mode: Mode) -> Ints:
        """Cycles of a group of `mode.frames` frames, `(A, B)` in the menu's order of buffers; `UNMAPPED` where none."""
        shape = shape_of(layer)
        if (shape, mode) not in self._made:
            self._made[shape, mode] = self._make(shape, mode)
        return self._made[shape, mode]

    def _make(self, shape: Layer, mode: Mode) -> Ints:
        table = torch.full(self.menu.shape, UNMAPPED, dtype=torch.int64)
        lanes = self.menu.values["px"]
        for px in torch.unique(lanes).tolist():
            rows = torch.nonzero(lanes == px)[:, 0]
            if (shape, px) not in self._priced:
                self._priced[shape, px] = _Shape.of(shape, self.menu, px, rows)
            table[rows] = self._priced[shape, px].best(mode, self.memory)
        return table.numpy()


@dataclass(frozen=True, eq=False)
class _Shape:
    """A layer's mappings on the arrays with equal `px`."""

    layer: Layer
    candidates: Candidates
    a: dict[str, Tensor]
    place: Tensor
    """Where the table of each array holds a mapping, `(A, C)`; past its end where it fits nowhere."""
    sizes: tuple[int, ...]
    terms: dict[Memory, Terms] = field(default_factory=dict)

    @staticmethod
    def of(layer: Layer, menu: Menu, px: int, rows: Tensor) -> _Shape:
        a = {name: value[rows][:, None] for name, value in menu.values.items()}
        c = thinned(layer, px)
        fits, place = legal(layer, c, a), torch.zeros(len(rows), len(c), dtype=torch.int64)
        for need, level in zip(buffer_needs(layer, c, a).values(), menu.levels, strict=True):
            index = torch.searchsorted(torch.tensor(level), need.contiguous())
            fits = fits & (index < len(level))
            place = place * len(level) + index
        sizes = tuple(len(level) for level in menu.levels)
        return _Shape(layer, c, a, torch.where(fits, place, len(menu.buffers)), sizes)

    def best(self, mode: Mode, memory: Memory) -> Tensor:
        """Fewest cycles for every choice of buffers, int64 `(A, B)`."""
        cycles = self.cycles(mode, replace(memory, beat_interval=mode.share))
        total = int(np.prod(self.sizes))
        table = torch.full((len(self.place), total + 1), UNMAPPED)
        table = table.scatter_reduce(1, self.place, cycles.clamp(max=UNMAPPED), "amin")[:, :total]
        return _running_minimum(table.reshape(-1, *self.sizes)).flatten(1)

    def cycles(self, mode: Mode, memory: Memory) -> Tensor:
        """Cycles of a group on all mappings, int64 `(A, C)`: as `dna.search.steady`, operands from memory or links."""
        layer, c, frames = self.layer, self.candidates, mode.frames
        own, link = self._terms(memory), self._terms(LINK_MEMORY) if mode.chip_in or mode.chip_out else None
        into = link if link is not None and mode.chip_in else own
        out = link if link is not None and mode.chip_out else own
        rows, cols = c.lanes_y * c.lane_rows, c.lanes_x * c.lane_cols
        spatial = tile.tiles(layer.out_height, rows) * tile.tiles(layer.out_width, cols)
        parts = tile.tiles(layer.group_outputs, c.out_channels) * layer.groups
        slices = tile.tiles(layer.kernel[0], c.kernel_rows)
        if not layer.per_channel:
            slices = slices * tile.tiles(layer.group_inputs, c.in_channels)
        several = (slices > 1) & layer.has_weights
        weight_frames = torch.where(((c.order == 1) | (parts == 1)) & ~several, 1, frames)
        again = (c.order == 1) & (spatial == 1) & (parts > 1) & (slices == 1) & (frames > 1)
        input_frames = frames * torch.where(again & (not layer.per_channel), parts, 1)

        program = INSTRUCTION_BYTES // WORD_BYTES * own.instructions * memory.beat_interval
        inputs, weights = into.inputs * input_frames, (own.weights - program) * weight_frames + program * frames
        port = inputs + weights if mode.ports == 1 else inputs.maximum(weights)
        everything = own.everything * frames
        steps = tile.compute_tiles(spatial, parts, slices) * frames
        array = everything + steps * CONSTANTS.tile + self.a["px"] + CONSTANTS.layer + own.drain
        read = (LINK_MEMORY if mode.chip_in else memory).read_latency
        turns = _turns(everything, into.loads * input_frames, into.per_load, read)
        loads = own.weight_loads * weight_frames
        weight_turns = _turns(everything, loads, (weights - program * frames) // loads, memory.read_latency)
        return array.maximum(port).maximum(out.stores * frames).maximum(turns).maximum(weight_turns)

    def _terms(self, memory: Memory) -> Terms:
        if memory not in self.terms:
            self.terms[memory] = layer_terms(self.layer, self.candidates, self.a, memory)
        return self.terms[memory]


def _turns(everything: Tensor, loads: Tensor, load_cycles: Tensor, latency: int) -> Tensor:
    """Two slots taking turns: the next tile is asked for when the one before it in its slot was used."""
    return loads // 2 * (everything // loads + latency + CONSTANTS.load + load_cycles)


def _running_minimum(table: Tensor) -> Tensor:
    """Minimum over all smaller or equal depths."""
    for dim in range(1, table.dim()):
        table = table.cummin(dim).values
    return table


@lru_cache(maxsize=4096)
def thinned(shape: Layer, px: int) -> Candidates:
    """The mappings of a shape that others do not undercut in pixels computed, words loaded, loads and depths."""
    c = group_candidates(shape, px)
    stride_h, stride_w = strides(shape)
    rows, cols = c.lanes_y * c.lane_rows, c.lanes_x * c.lane_cols
    spatial = tile.tiles(shape.out_height, rows) * tile.tiles(shape.out_width, cols)
    pixels = spatial * c.lane_rows * c.lane_cols
    top, left = shape.padding[:2]
    words = tile.total_real(shape.out_height, rows, stride_h, shape.kernel[0], top, shape.in_height)
    words = words * tile.total_real(shape.out_width, cols, stride_w, shape.kernel[1], left, shape.in_width)
    window = tile.window(c.lane_rows, stride_h, c.kernel_rows) * tile.window(c.lane_cols, stride_w, shape.kernel[1])
    outputs = rows.clamp(max=shape.out_height) * cols.clamp(max=shape.out_width)
    figures = torch.stack([pixels, words, spatial, window, outputs, c.lanes_y * c.lanes_x], dim=1)
    groups = torch.stack([c.out_channels, c.in_channels, c.kernel_rows, c.order], dim=1)
    keep = torch.zeros(len(c), dtype=torch.bool)
    for group in torch.unique(groups, dim=0):
        own = torch.nonzero((groups == group).all(dim=1))[:, 0]
        keep[own[undominated(figures[own])]] = True
    return c.select(torch.nonzero(keep)[:, 0])


def undominated(rows: Tensor) -> Tensor:
    """Numbers of the rows `(N, K)` that no other row undercuts or equals in every column; of equal rows the first."""
    order = torch.arange(len(rows))
    for column in reversed(range(rows.shape[1])):
        order = order[torch.sort(rows[order, column], stable=True).indices]
    ordered, kept = rows[order], []
    alive = torch.ones(len(rows), dtype=torch.bool)
    for i in range(len(rows)):
        if alive[i]:
            kept.append(i)
            alive &= ~(ordered >= ordered[i]).all(dim=1)
    return order[kept]
