"""Mappings for chunks that hand tensors over on chip, in bands of rows.

A reader can begin when the first band is there, and the writer goes on only while the bank has room: two bands, halo
included, have to fit. So tiles of a layer that reads another chunk's tensor from a bank are bands, all channels of one
before the next. Among such mappings of nearly equal cycles, the one with the fewest rows makes its reader wait the
least.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.mapping import LayerMapping
from dna.compile.default_mapping import resident
from dna.cost.mapping_limits import Candidates
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search.groups import group
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.steady import ORDERS, group_candidates

TOLERANCE = 1.02
"""Mappings within this factor of the fewest cycles count as equal."""
JOB = 6
"""Cycles that count for each job beside the closed form: links have next to no latency behind which a job could hide
that it is dispatched, waits for its slot and stands behind a residual's. Chosen by schedules of on-chip runs."""
BANDS = 2
"""Bands of its input that a tile's bank must hold: one is read while the next is written."""


@dataclass(frozen=True)
class Place:
    """Where a layer runs on chip: what its cycles follow from, beside its mapping."""

    chunk: Chunk
    memory: Memory
    weight_interval: int
    """Cycles per beat of the port for weights; that of `memory` is for the other one."""
    frames: int
    chip_in: bool
    """It reads on chip."""
    chip_out: bool
    """It writes on chip."""


def chip_choices(
    layer: Layer, place: Place, count: int, *, in_order: bool = False, tolerance: float = TOLERANCE
) -> list[LayerMapping]:
    """Up to `count` mappings of a layer that reads or writes on chip, for groups of frames.

    Best first: mappings whose cycles are within a factor of `tolerance` are in the order of their rows, the lowest
    bands first. `in_order`: only those that do all channels of a band before the next, if there are any. Weights are
    resident where they fit. Empty where nothing fits.
    """
    priced = _priced(shape_of(layer), place)
    cycles = priced.in_order() if in_order else priced.cycles
    step = ((cycles.double() / cycles.min()).log() / math.log(tolerance)).floor()
    order = cycles.argsort(stable=True)
    order = order[priced.rows[order].argsort(stable=True)]
    order = order[step[order].argsort(stable=True)]
    found = dict.fromkeys(resident(layer, place.chunk, mapping) for mapping in priced.mappings(order[: 4 * count]))
    return list(found)[:count]


def band_choice(layer: Layer, place: Place, floor: int, per_row: float) -> LayerMapping:
    """The mapping in bands with which a run of layers that hand over on chip takes least: its cycles, but `floor` at
    least, for it goes no faster than what it follows, and `per_row` for each row of a band, for which others wait.

    UserError where nothing fits.
    """
    priced = _priced(shape_of(layer), place)
    cycles = priced.in_order()
    cost = torch.where(cycles < UNMAPPED, cycles.clamp(min=floor) + priced.rows * per_row, torch.inf)
    order = cycles.argsort(stable=True)
    best = priced.mappings(order[cost[order].argsort(stable=True)][:1])
    if not best:
        raise UserError(f"layer '{layer.name}': fits no tile on its chunk")
    return resident(layer, place.chunk, best[0])


def jobs(layer: Layer, c: Candidates) -> Tensor:
    """LOADs, TILEs and STOREs of a frame of a layer, int64 `(C,)`, without those of weights."""
    spatial = tile.tiles(layer.out_height, c.lanes_y * c.lane_rows) * tile.tiles(
        layer.out_width, c.lanes_x * c.lane_cols
    )
    parts = layer.groups * tile.tiles(layer.group_outputs, c.out_channels)
    found: Tensor = spatial * (1 + parts * (2 + int(layer.residual is not None)))
    return found


@dataclass(frozen=True, eq=False)
class _Priced:
    """All mappings of a layer, int64 `(C,)` each."""

    candidates: Candidates
    cycles: Tensor
    """`UNMAPPED` where one does not fit; `JOB` for each job included."""
    rows: Tensor
    """Of a tile."""
    ordered: Tensor
    """Whether all channels of a band are done before the next, bool."""

    def in_order(self) -> Tensor:
        """Cycles, `UNMAPPED` where bands are not in order; all cycles where none is."""
        banded = torch.where(self.ordered, self.cycles, UNMAPPED)
        return banded if int(banded.min()) < UNMAPPED else self.cycles

    def mappings(self, rows: Tensor) -> list[LayerMapping]:
        """Those of the rows that fit."""
        found = []
        for row in rows.tolist():
            if self.cycles[row] < UNMAPPED:
                values = {f.name: int(getattr(self.candidates, f.name)[row]) for f in fields(self.candidates)}
                found.append(LayerMapping(**{**values, "order": ORDERS[values["order"]]}))  # type: ignore[arg-type]
        return found


@lru_cache(maxsize=256)
def _priced(layer: Layer, place: Place) -> _Priced:
    c = group_candidates(layer, place.chunk.px)
    counts = group(layer, c, place.chunk, place.memory, place.frames)
    cycles = counts.cycles(place.memory.beat_interval, place.weight_interval, place.chip_in, place.chip_out)
    cycles = torch.where(cycles < UNMAPPED, cycles + JOB * place.frames * jobs(layer, c), UNMAPPED)
    rows = (c.lanes_y * c.lane_rows).clamp(max=layer.out_height)
    return _Priced(c, cycles, rows, (c.order == 0) | (c.out_channels >= layer.group_outputs))
