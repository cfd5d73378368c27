"""Mappings for chunks that hand tensors over on chip, in bands of rows.

A reader can begin when the first band is there, and the writer goes on only while the bank has room: two bands, halo
included, have to fit. So tiles of a layer that reads another chunk's tensor from a bank are bands, all channels of one
before the next. Among such mappings of nearly equal cycles, the one with the fewest rows makes its reader wait the
least.
"""

from __future__ import annotations

import math
from dataclasses import fields
from functools import lru_cache

import torch

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.mapping import LayerMapping
from dna.compile.default_mapping import resident
from dna.network.layer import Layer
from dna.search.groups import group
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.steady import ORDERS, group_candidates

TOLERANCE = 1.02
"""Mappings within this factor of the fewest cycles count as equal."""
KEPT = 24
"""Mappings of a layer that are remembered."""
BANDS = 2
"""Bands of its input that a tile's bank must hold: one is read while the next is written."""


def chip_choices(
    layer: Layer,
    chunk: Chunk,
    memory: Memory,
    frames: int,
    count: int,
    *,
    weight_interval: int | None = None,
    chip_in: bool,
    chip_out: bool,
    in_order: bool = False,
    tolerance: float = TOLERANCE,
) -> list[LayerMapping]:
    """Up to `count` mappings of a layer that reads (`chip_in`) or writes on chip, for groups of `frames` frames.
    `weight_interval`: cycles per beat of the port for weights, if not those of `memory`.

    Best first: mappings whose cycles are within a factor of `tolerance` are in the order of their rows, the lowest
    bands first. `in_order`: only those that do all channels of a band before the next, if there are any. Weights are
    resident where they fit. Empty where nothing fits.
    """
    key = (
        shape_of(layer),
        chunk,
        memory,
        weight_interval or memory.beat_interval,
        frames,
        chip_in,
        chip_out,
        in_order,
        tolerance,
    )
    found = dict.fromkeys(resident(layer, chunk, mapping) for mapping in _chip_choices(*key)[: 4 * count])
    return list(found)[:count]


@lru_cache(maxsize=4096)
def _chip_choices(
    layer: Layer,
    chunk: Chunk,
    memory: Memory,
    weight_interval: int,
    frames: int,
    chip_in: bool,
    chip_out: bool,
    in_order: bool,
    tolerance: float,
) -> tuple[LayerMapping, ...]:
    """As `chip_choices`, the first `KEPT`, before weights are resident."""
    c = group_candidates(layer, chunk.px)
    cycles = group(layer, c, chunk, memory, frames).cycles(memory.beat_interval, weight_interval, chip_in, chip_out)
    rows = (c.lanes_y * c.lane_rows).clamp(max=layer.out_height)
    if in_order:
        banded = torch.where((c.order == 0) | (c.out_channels >= layer.group_outputs), cycles, UNMAPPED)
        cycles = banded if int(banded.min()) < UNMAPPED else cycles
    step = ((cycles.double() / cycles.min()).log() / math.log(tolerance)).floor()
    order = cycles.argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    order = order[step[order].argsort(stable=True)]
    found = []
    for row in order[:KEPT].tolist():
        if cycles[row] < UNMAPPED:
            values = {f.name: int(getattr(c, f.name)[row]) for f in fields(c)}
            found.append(LayerMapping(**{**values, "order": ORDERS[values["order"]]}))  # type: ignore[arg-type]
    return tuple(found)
