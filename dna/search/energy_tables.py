"""What the best mappings move, for every array and choice of buffers of a space: energy for a search.

Mappings are those with the fewest cycles, of equal ones the first: what a search of cycles would take. Their numbers
are kept in tables, as `dna.search.accelerator` keeps their cycles; what they move is counted when asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import Memory
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.technology import real
from dna.cost.cycles import price
from dna.cost.traffic import PARAM_BYTES, PLAIN, SUM_BYTES, Feeding, Traffic, layer_traffic
from dna.network.layer import Layer
from dna.search.mapping_space import candidates, shape_of
from dna.search.space import BUFFER_AXES, Space

NONE = -1
"""In place of a mapping's number where none fits."""
ID_BITS = 24
PAIRS = 50_000
"""Pairs of array and mapping priced together."""


@dataclass
class EnergyTables:
    """Numbers of the best mappings, by layer shape, int32 `(arrays of the space, buffer choices)`."""

    space: Space
    memory: Memory
    _tables: dict[Layer, Tensor] = field(default_factory=dict, repr=False)
    _done: dict[Layer, Tensor] = field(default_factory=dict, repr=False)

    def ids(self, layer: Layer, arrays: Tensor) -> Tensor:
        """Numbers in `candidates` of the best mappings, `(len(arrays), buffer choices)`, `NONE` where nothing fits.

        `arrays`: row numbers in `space.arrays`.
        """
        shape = shape_of(layer)
        if shape not in self._tables:
            self._tables[shape] = torch.empty(len(self.space.arrays), len(self.space.buffers), dtype=torch.int32)
            self._done[shape] = torch.zeros(len(self.space.arrays), dtype=torch.bool)
        table, done = self._tables[shape], self._done[shape]
        missing = torch.unique(arrays[~done[arrays]])
        levels = [self.space.axes[self.space.column(name)].values for name in BUFFER_AXES]
        pixels = self.space.values(self.space.arrays[missing])["px"]
        for px in torch.unique(pixels).tolist():
            rows = missing[pixels == px]
            for block in rows.split(max(1, PAIRS // len(candidates(shape, px)))):
                values = self.space.values(self.space.arrays[block])
                table[block] = best_ids(shape, values, px, levels, self.memory)
                done[block] = True
        return table[arrays]

    def traffic(self, layer: Layer, arrays: Tensor, buffers: Tensor) -> Traffic:
        """Of one layer in one frame on N designs, float64 `(N,)`: `arrays`, `buffers` are row numbers, `(N,)` each.

        Where no mapping fits, it is what the first candidate would move.
        """
        shape = shape_of(layer)
        distinct, place = torch.unique(arrays, return_inverse=True)
        ids = self.ids(shape, distinct)[place, buffers].long().clamp(min=0)
        values = self.space.values(self.space.arrays[arrays])
        parts, rows = [], []
        for px in torch.unique(values["px"]).tolist():
            own = torch.nonzero(values["px"] == px)[:, 0]
            chosen = candidates(shape, px).select(ids[own])
            parts.append(layer_traffic(shape, chosen, {name: value[own] for name, value in values.items()}))
            rows.append(own)
        order = torch.cat(rows).argsort()
        names = Traffic.__dataclass_fields__
        return Traffic(**{name: torch.cat([getattr(part, name) for part in parts])[order] for name in names})


def best_ids(
    layer: Layer, values: Mapping[str, Tensor], px: int, levels: Sequence[tuple[int, ...]], memory: Memory
) -> Tensor:
    """As `EnergyTables.ids` for arrays that all have `px` lanes; `values`: their parameters, int64 `(A,)` each.

    `levels`: depths of the buffers, ascending, in the order input, weight, param, output.
    """
    priced = price(layer, candidates(layer, px), values, memory)
    sizes = [len(level) for level in levels]
    total = math.prod(sizes)
    place, fits = torch.zeros_like(priced.cycles), priced.legal
    for need, level in zip(priced.needs.values(), levels, strict=True):
        index = torch.searchsorted(torch.tensor(level), need.contiguous())
        fits = fits & (index < len(level))
        place = place * len(level) + index
    place = torch.where(fits, place, total)
    keys = priced.cycles * 2**ID_BITS + torch.arange(priced.cycles.shape[1])
    worst = torch.iinfo(torch.int64).max
    table = torch.full((len(keys), total + 1), worst).scatter_reduce(1, place, keys, "amin")
    table = table[:, :total].view(-1, *sizes)
    for dim in range(1, table.dim()):
        table = table.cummin(dim).values
    return torch.where(table == worst, NONE, table % 2**ID_BITS).flatten(1).to(torch.int32)


def least_traffic(layer: Layer, p: Mapping[str, Tensor], feeding: Feeding = PLAIN) -> Traffic:
    """What every mapping of a layer moves at least, on each array, float64 `(A,)`; no instructions."""
    per_channel = int(layer.per_channel)
    one = torch.ones(len(p["oc"]), dtype=torch.float64)
    pixels = layer.out_height * layer.out_width
    groups = layer.groups * tile.output_groups(layer.group_outputs, p["oc"], per_channel)
    mac = tile.mac_cycles(*layer.kernel, tile.steps(layer.group_inputs, p["ic"], per_channel)) + 0 * groups
    words = (pixels * groups * mac).double()
    stays = (p["dataflow"] == 2) & (not layer.per_channel)
    input_words = torch.where(stays, (pixels * layer.groups * mac).double(), words)
    loaded = WORD_BYTES * float(_touched(layer))
    outputs = WORD_BYTES * float(pixels * tile.channel_words(layer.out_channels))
    residual = outputs if layer.residual is not None else 0.0
    weights = math.prod(layer.weight_shape or (0,)) / real(feeding.batch)
    weight_words = torch.where(p["dataflow"] == 1, (groups * mac).double(), words / p["px"])
    made = float(pixels * layer.out_channels)
    from_link = one * (feeding.chip_in * loaded + feeding.chip_residual * residual)
    return Traffic(
        macs=one * float(layer.macs),
        outputs=one * made,
        read=one * (loaded + residual + weights) - from_link,
        written=one * (1 - feeding.chip_out) * outputs,
        link=from_link + one * feeding.chip_out * outputs,
        input=WORD_BYTES * input_words,
        weight=(weights + p["oc"] * p["ic"] * weight_words) if layer.has_weights else 0 * one,
        param=one * PARAM_BYTES * made,
        output=one * 2 * outputs,
        residual=one * 2 * residual,
        sum=2.0 * SUM_BYTES * p["oc"] * (pixels * groups * (mac - 1) * (p["dataflow"] != 0)).double(),
        program=0 * one,
    )


def _touched(layer: Layer) -> int:
    """Words of the input that some window holds."""
    sides = []
    for axis, outputs, size in ((0, layer.out_height, layer.in_height), (1, layer.out_width, layer.in_width)):
        starts = [place * layer.stride[axis] - layer.padding[axis] for place in range(outputs)]
        ends = (min(start + layer.kernel[axis], size) for start in starts)
        sides.append(len({row for start, end in zip(starts, ends, strict=True) for row in range(max(start, 0), end)}))
    return sides[0] * sides[1] * int(tile.channel_words(layer.in_channels))
