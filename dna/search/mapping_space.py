"""The mappings of a layer: every candidate as a row of integers, priced in batches of (array, candidate).

Candidates depend on the layer's shape and the number of pixel lanes alone. What they cost on an array, and whether they
can be compiled for it, comes from `dna.cost.cycles` and, behind it, `dna.accelerator.tile`, as for the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.mapping import LayerMapping
from dna.accelerator.tile import ceil_div
from dna.cost.cycles import price
from dna.cost.mapping_limits import Candidates
from dna.network.layer import Layer

UNMAPPED = 2**31 - 1
"""In place of cycles where no mapping can be compiled."""
TILE_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224)
"""In how many tiles a dimension may be cut; as many as it has pixels is always allowed too."""
CHANNEL_CUTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)
"""In how many tiles, or slices, the groups of 16 channels may be cut."""


def shape_of(layer: Layer) -> Layer:
    """The layer with all that does not change its cycles taken away: equal shapes cost the same."""
    return Layer(
        name="",
        op=layer.op,
        input="input",
        in_channels=layer.in_channels,
        in_height=layer.in_height,
        in_width=layer.in_width,
        out_channels=layer.out_channels,
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        residual=None if layer.residual is None else "residual",
        groups=layer.groups,
        parts=("input", "part") if layer.parts else (),
        count_padding=layer.count_padding,
    )


def lane_splits(height: int, width: int, px: int) -> list[tuple[int, int]]:
    """(lanes_y, lanes_x) worth trying for an output of this size: none is inside another."""
    splits = {(rows, min(px // rows, width)) for rows in range(1, min(px, height) + 1)}
    return [s for s in sorted(splits) if not any(s != o and s[0] <= o[0] and s[1] <= o[1] for o in splits)]


def lane_sizes(length: int, lanes: int) -> list[tuple[int, int]]:
    """(lanes used, pixels per lane) along one dimension, largest tile first."""
    sizes = dict.fromkeys(ceil_div(ceil_div(length, n), lanes) for n in (*TILE_COUNTS, length) if n <= length)
    return [(min(lanes, -(-length // size)), size) for size in sizes]


def channel_sizes(channels: int) -> list[int]:
    """Channels of one tile: all, or a multiple of 16."""
    groups = -(-channels // 16)
    cuts = dict.fromkeys(-(-groups // n) for n in (*CHANNEL_CUTS, groups) if n <= groups)
    return [channels if size == groups else 16 * size for size in cuts]


def _slices(layer: Layer, pixels: int, out_channels: int) -> list[tuple[int, int]]:
    """(in_channels, kernel_rows) of a slice: all, or less where a tile is a pixel per lane."""
    whole = (layer.group_inputs, layer.kernel[0])
    if pixels > 1:
        return [whole]
    if layer.per_channel:
        rows = dict.fromkeys(-(-layer.kernel[0] // n) for n in (*TILE_COUNTS, layer.kernel[0]) if n <= layer.kernel[0])
        return [(layer.in_channels, r) for r in rows]
    rows = dict.fromkeys((layer.kernel[0], 1))
    return [(c, r) for c in channel_sizes(layer.group_inputs) for r in rows]


@lru_cache(maxsize=4096)
def candidates(layer: Layer, px: int) -> Candidates:
    """All mappings worth trying of a layer shape on `px` lanes, in a fixed order: row numbers are ids."""
    rows: dict[tuple[int, ...], None] = {}
    for lanes_y, lanes_x in lane_splits(layer.out_height, layer.out_width, px):
        for used_y, lane_rows in lane_sizes(layer.out_height, lanes_y):
            for used_x, lane_cols in lane_sizes(layer.out_width, lanes_x):
                for out_channels in channel_sizes(layer.group_outputs):
                    for in_channels, kernel_rows in _slices(layer, lane_rows * lane_cols, out_channels):
                        one_tile = used_y * lane_rows >= layer.out_height and used_x * lane_cols >= layer.out_width
                        orders = (0,) if one_tile or out_channels == layer.out_channels else (0, 1)
                        for order in orders:
                            row = (used_y, used_x, lane_rows, lane_cols, out_channels, in_channels, kernel_rows, order)
                            rows[row] = None
    return Candidates.of(torch.tensor(list(rows)))


def decode(layer: Layer, chunk: Chunk, identity: int) -> LayerMapping:
    """The mapping with an id that `solve_mappings` gave for this layer and chunk."""
    table = candidates(shape_of(layer), chunk.px)
    row = {f.name: int(getattr(table, f.name)[identity]) for f in fields(table)}
    return LayerMapping(**{**row, "order": ("inputs", "weights")[row["order"]]})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Solution:
    """For L layers and K chunks, int64 or bool `(L, K)`: fewest cycles (`UNMAPPED` if none), whether any, its id."""

    cycles: Tensor
    feasible: Tensor
    ids: Tensor


def solve_mappings(layers: Sequence[Layer], chunks: Sequence[Chunk], memory: Memory) -> Solution:
    """The best mapping of every layer on every chunk; each distinct pair is solved once."""
    shapes = [shape_of(layer) for layer in layers]
    distinct = list(dict.fromkeys(chunks))
    columns_of = [c.integers for c in distinct]
    values = {f.name: torch.tensor([c[f.name] for c in columns_of]) for f in fields(Chunk)}
    solved = {shape: _solve(shape, values, memory) for shape in dict.fromkeys(shapes)}
    columns = torch.tensor([distinct.index(c) for c in chunks])
    cycles = torch.stack([solved[shape][0] for shape in shapes])[:, columns]
    ids = torch.stack([solved[shape][1] for shape in shapes])[:, columns]
    return Solution(cycles, cycles != UNMAPPED, ids)


def _solve(layer: Layer, values: Mapping[str, Tensor], memory: Memory) -> tuple[Tensor, Tensor]:
    """Best cycles and id per chunk, int64 `(chunks,)`."""
    count = len(values["px"])
    cycles, ids = torch.full((count,), UNMAPPED), torch.zeros(count, dtype=torch.int64)
    for px in torch.unique(values["px"]).tolist():
        rows = torch.nonzero(values["px"] == px)[:, 0]
        part = {name: value[rows] for name, value in values.items()}
        priced = price(layer, candidates(layer, px), part, memory)
        fits = priced.legal
        for name, need in priced.needs.items():
            fits = fits & (need <= part[name][:, None])
        cycles[rows], ids[rows] = torch.where(fits, priced.cycles, UNMAPPED).min(dim=1)
    return cycles, ids


def buffer_tables(
    layer: Layer, values: Mapping[str, Tensor], levels: Sequence[tuple[int, ...]], memory: Memory
) -> Tensor:
    """Fewest cycles of a layer shape on A arrays for every choice of buffers, int64 `(A, *len(levels))`.

    `values`: the arrays' parameters, int64 `(A,)` each. `levels`: the depths of the buffers, ascending, in the
    order input, weight, param, output. `UNMAPPED` where no mapping fits.
    """
    sizes = [len(level) for level in levels]
    total = torch.Size(sizes).numel()
    table = torch.full((len(values["px"]), total + 1), UNMAPPED)
    for px in torch.unique(values["px"]).tolist():
        rows = torch.nonzero(values["px"] == px)[:, 0]
        priced = price(layer, candidates(layer, px), {n: v[rows] for n, v in values.items()}, memory)
        place, fits = torch.zeros_like(priced.cycles), priced.legal
        for need, level in zip(priced.needs.values(), levels, strict=True):
            index = torch.searchsorted(torch.tensor(level), need.contiguous())
            fits = fits & (index < len(level))
            place = place * len(level) + index
        place = torch.where(fits, place, total)
        table[rows] = table[rows].scatter_reduce(1, place, priced.cycles, "amin")
    return _running_minimum(table[:, :total].view(-1, *sizes))


def _running_minimum(table: Tensor) -> Tensor:
    """Minimum over all smaller or equal indices, in every dimension but the first."""
    for dim in range(1, table.dim()):
        parts = list(table.unbind(dim))
        for i in range(1, len(parts)):
            parts[i] = torch.minimum(parts[i - 1], parts[i])
        table = torch.stack(parts, dim)
    return table


def compute_bound(layer: Layer, values: Mapping[str, Tensor]) -> Tensor:
    """Cycles below which no mapping can go on each array, int64 `(A,)`: multiplies, post-processing, no stall."""
    pixels = layer.out_height * layer.out_width
    steps: Tensor | int
    taps = layer.kernel[0] * layer.kernel[1]
    if layer.per_channel:
        groups, steps = -(-layer.out_channels // values["oc"].clamp(max=16)), 1
    else:
        groups = layer.groups * -(-layer.group_outputs // values["oc"])
        steps = -(-layer.group_inputs // values["ic"])
    array = -(-pixels // values["px"]) * groups * steps * taps
    return array.maximum(-(-pixels * layer.out_channels // values["post_lanes"]))


def port_bound(
    layer: Layer,
    values: Mapping[str, Tensor],
    memory: Memory,
    frames: int = 1,
    chip_in: bool = False,
    chip_out: bool = False,
) -> Tensor:
    """Cycles of a group of frames below which no mapping's memory ports can go on each array, int64 `(A,)`.

    Every byte of input and output passes once per frame, unless it is in a link (`chip_in`, `chip_out`), and every
    weight once per group.
    """
    per_word = memory.beat_interval * (WORD_BYTES // values["port_bytes"])
    rows = _touched(layer.out_height, layer.stride[0], layer.kernel[0], layer.padding[0], layer.in_height)
    cols = _touched(layer.out_width, layer.stride[1], layer.kernel[1], layer.padding[1], layer.in_width)
    inputs = rows * cols * ceil_div(layer.in_channels, WORD_BYTES)
    outputs = layer.out_height * layer.out_width * ceil_div(layer.out_channels, WORD_BYTES)
    if layer.residual is not None:
        inputs += outputs
    inputs, outputs = frames * inputs * (not chip_in), frames * outputs * (not chip_out)
    weights = math.prod(layer.weight_shape or (0,)) // WORD_BYTES
    reads = torch.where(values["ports"] == 1, inputs + weights, max(inputs, weights))
    return per_word * reads.clamp(min=outputs)


def _touched(outputs: int, stride: int, kernel: int, padding: int, size: int) -> int:
    """Rows (or columns) of the input that some window holds."""
    starts = [position * stride - padding for position in range(outputs)]
    return len({row for start in starts for row in range(max(start, 0), min(start + kernel, size))})
